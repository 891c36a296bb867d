import { expect, test } from 'vitest';
import { buildReport } from '../build-report.ts';
import type { ReportData } from '../report-data.ts';
import { runFixture } from '../testing/run-fixture.ts';
import { toHtml } from './to-html.ts';
import { toJson } from './to-json.ts';
import { toMarkdown } from './to-markdown.ts';

const HOSTILE = '<script>alert("1")</script> | `x` & \'y\'';
const stamp = { createdMs: Date.UTC(2026, 4, 6, 7, 8), program: 'Condenser 0.1.0' };

const full = runFixture({
  name: HOSTILE,
  evaluations: [
    [50, 1.6],
    [100, 1.3],
  ],
  layers: 3,
  experts: 8,
  load: (r, _n, l, e) => (l === 0 && e === 7 ? 0 : 10 + e * l + r),
  bias: (l, e) => (e - 3.5) * (l + 1),
  condensers: [[1], [], [2, 5]],
});
const report = buildReport([full], stamp);
const pair = buildReport(
  [full, runFixture({ id: 'run_b', name: 'second', spec: { method: { name: 'lora' } } })],
  stamp,
);

/** All matches of `pattern`: shorter to read in a failure than the whole page. */
const found = (page: string, pattern: RegExp) => [...page.matchAll(pattern)].map(([match]) => match);

test('the HTML file asks for nothing and runs nothing', () => {
  for (const page of [toHtml(report), toHtml(pair)]) {
    expect(/http-equiv="Content-Security-Policy"\s+content="([^"]*)"/.exec(page)?.[1]).toBe(
      "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    );
    expect(found(page, /<(script|link|img|iframe|object|embed|use|image)\b/gi)).toEqual([]);
    expect(found(page, /\b(src|href|srcset|action|xlink:href)\s*=/gi)).toEqual([]);
    expect(found(page, /url\(|@import|https?:/gi)).toEqual([]);
    expect(found(page, /<[^>]*\son\w+\s*=/gi)).toEqual([]);
  }
});

test('names from outside stay text everywhere', () => {
  const page = toHtml(pair);
  expect(found(page, /<script/gi)).toEqual([]);
  expect(page.includes('&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; | `x` &amp; &#39;y&#39;')).toBe(
    true,
  );
  const markdown = toMarkdown(pair);
  expect(found(markdown.replaceAll(/^(`{3,})\n[\s\S]*?\n\1$/gm, ''), /<script/gi)).toEqual([]);
  // A name with a bar does not add a column.
  const rows = markdown.split('\n').filter((line) => line.startsWith('| State'));
  expect(rows).toEqual(['| State | completed | completed |']);
});

test('every drawing has a name, a description and a table', () => {
  const page = toHtml(pair);
  const drawings = [...page.matchAll(/<svg[^>]*role="img"[^>]*aria-labelledby="(\S+) (\S+)"/g)];
  expect(drawings.length).toBe(5); // Loss; first, last, difference and bias of the run with routing.
  for (const [, title, description] of drawings) {
    expect(
      found(
        page,
        new RegExp(`<title id="${title}">[^<]+</title>\\s*<desc id="${description}">[^<]+</desc>`, 'g'),
      ).length,
    ).toBe(1);
  }
  const ids = [...page.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(page.match(/<figure/g)?.length).toBe(5);
  expect(page.match(/<figure[\s\S]*?<details[\s\S]*?<table[\s\S]*?<\/figure>/g)?.length).toBe(5);
  // Other drawings are decoration and say so.
  expect(page.match(/<svg/g)?.length).toBe(5 + (page.match(/<svg[^>]*aria-hidden="true"/g)?.length ?? 0));
});

test('each further run has its map of expert usage against the first', () => {
  const shifted = runFixture({
    id: 'run_c',
    name: 'shifted',
    layers: 3,
    experts: 8,
    load: (_r, _n, l, e) => (l === 1 && e === 2 ? 40 : 10),
  });
  const three = buildReport([full, shifted, runFixture({ id: 'run_b', name: 'second' })], stamp);
  const page = toHtml(three);
  expect(found(page, /<title id="usage-\d+-title">shifted minus [^<]+</g)).toHaveLength(1);
  expect(found(page, /“second” has no record of its expert usage\./g)).toHaveLength(1);
  // The shifted expert has 2.9 × the uniform load, in the first run about 1.
  expect(found(page, />[−+]2<\/text/g)).toHaveLength(2);
  const markdown = toMarkdown(three);
  expect(markdown).toContain('shifted against');
  expect(markdown).toContain('“second” has no record of its expert usage.');
  expect(found(toHtml(report), /run against run/g)).toEqual([]);
});

test('headings do not skip a level and every table names its columns', () => {
  const page = toHtml(pair);
  const levels = [...page.matchAll(/<h(\d)/g)].map(([, level]) => Number(level));
  expect(levels[0]).toBe(1);
  levels.slice(1).forEach((level, i) => expect(level - (levels[i] ?? 0)).toBeLessThanOrEqual(1));
  for (const [table] of page.matchAll(/<table[\s\S]*?<\/table>/g)) expect(table).toMatch(/<th\s+scope="col/);
});

test('the map puts a cell where its number belongs', () => {
  const { routing } = report.runs[0] ?? {};
  // Layer 1, expert 7 has no token; the others share what there is.
  expect(routing?.last.load_LE[0]?.[7]).toBe(0);
  expect(routing?.last.load_LE[0]?.[0]).toBeCloseTo(8 / 7, 12);
  const page = toHtml(report);
  // Equal loads are one path in the maps of the first and last tenth and of the difference; no token is no colour.
  expect(found(page, /class="q\d+"\s+d="M0\.04 0\.04h\.92v\.92h-\.92zM1\.04 0\.04h/g).length).toBe(3);
  expect(found(page, /class="strike"\s+d="M7\.15 0\.85/g).length).toBe(2);
  expect(found(page, /class="outline"\s+d="M1\.08 0\.08h[^"]*M2\.08 2\.08h[^"]*M5\.08 2\.08h/g).length).toBe(
    4,
  );
  expect(found(page, /class="outline under"\s+d="M1\.08/g).length).toBe(4);
  const narrow = buildReport([runFixture({ experts: 256, load: () => 1, condensers: [[1], [2]] })], stamp);
  // A second line would leave nothing of narrow cells.
  expect(toHtml(narrow)).toContain('class="outline"');
  expect(toHtml(narrow)).not.toContain('class="outline under"');
});

test('the words hold the numbers', () => {
  expect(report.summary).toEqual([
    `“${HOSTILE}”: model tiny, method full, 100 steps (100,000 tokens in 50 s, 1.2 M of 4.8 M parameters trained).`,
    'Training loss went from 1.955 (first tenth) to 1.055 (last tenth).',
    'Validation loss went from 1.6 (step 50) to 1.3 (step 100; its lowest).',
    expect.stringMatching(/^Expert load is most uneven in layer 1: Gini 0\.1\d* at the end, /),
    '1 expert of 24 got no token in the last tenth of the run.',
  ]);
  expect(pair.summary).toContain('Fewer than two runs measured a validation loss, so none is called better.');
});

test('the lower validation loss is named with its distance', () => {
  const two = buildReport(
    [
      runFixture({ name: 'A', evaluations: [[100, 1.5]] }),
      runFixture({ name: 'B', evaluations: [[100, 1.2]] }),
      runFixture({ name: 'C' }),
    ],
    stamp,
  );
  expect(two.summary).toContain(
    'Final validation loss is lowest in “B”: 1.2, against 1.5 in “A” (25 % higher). 1 run did not measure it.',
  );
});

test('a run that never trained still has a report', () => {
  const run = runFixture({ state: 'failed' });
  const empty = buildReport(
    [{ ...run, facts: null, series: { steps: [], evaluations: [], events: [] } }],
    stamp,
  );
  expect(empty.summary[0]).toBe('“a run”: model tiny, method full; no step was trained (failed).');
  expect(toHtml(empty)).toContain('No step was trained.');
  expect(toMarkdown(empty)).toContain('Expert usage was not recorded.');
});

test('the configuration in the report is the run specification again', () => {
  const page = toHtml(buildReport([runFixture()], stamp));
  const json = /<pre>(\{[\s\S]*?)<\/pre>/.exec(page)?.[1]?.replaceAll('&quot;', '"');
  expect(JSON.parse(json ?? '')).toEqual(runFixture().spec);
  expect(page).toContain('condenser train run.json');
});

test('JSON is the report itself', () => {
  const parsed = JSON.parse(toJson(report)) as ReportData;
  expect(parsed).toEqual(report);
});

test('61 × 256 experts stay a file a browser opens', () => {
  const large = runFixture({
    layers: 61,
    experts: 256,
    records: 10,
    load: (r, _n, l, e) => 1 + ((e * 31 + l * 7 + r) % 90),
  });
  const started = performance.now();
  const page = toHtml(buildReport([large], stamp));
  console.info(
    `61 × 256: ${(page.length / 1e6).toFixed(1)} MB in ${(performance.now() - started).toFixed(0)} ms`,
  );
  expect(page.length).toBeLessThan(6e6);
});
