import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { condenser, makeSite, type Site } from './cli.fixture.ts';

let site: Site;
let run: string;
beforeAll(async () => {
  site = makeSite();
  run = path.join(site.dir, 'run');
  await condenser('train', site.runFile, '--out', run, '--home', site.home);
});
afterAll(() => site.remove());

const lines = (file: string) =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

function write(name: string, rows: readonly object[]): string {
  const file = path.join(site.dir, name);
  writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return file;
}

test('what a model answers is right where the file says so, and the score is kept beside a run', async () => {
  const asked = path.join(site.dir, 'asked.jsonl');
  const few = ['--max-new-tokens', '3', '--batch', '3'];
  await condenser('evaluate', run, '--suite', site.data, ...few, '--samples', '5', '--out', asked);
  const answers = lines(asked);
  expect(answers).toHaveLength(5);
  // Three of five answers become the right ones.
  const questions = lines(site.data);
  const own = write(
    'own.jsonl',
    answers.map(({ row, answer }, at) => ({
      question: questions[Number(row) - 1]?.['question'],
      answer: at < 3 ? answer : 'w0 w0',
    })),
  );
  const said = await condenser('evaluate', run, '--suite', own, ...few, '--json');
  const [document] = said.json();
  const expected = { suite: 'own.jsonl', n: 5, kind: 'text', correct: 3, step: 4, extractorVersion: 1 };
  expect(document).toMatchObject({ meanAccuracy: 0.6, suites: [expected] });
  expect(document?.['files']).toEqual([path.join(run, 'scores.json')]);
  const kept = JSON.parse(readFileSync(path.join(run, 'scores.json'), 'utf8')) as { suites: object[] };
  expect(kept.suites).toMatchObject([{ suite: 'data.jsonl', n: 5 }, expected]);
  // One answer at a time is the same answer.
  await condenser('evaluate', run, '--suite', own, '--max-new-tokens', '3', '--batch', '1');
  expect(JSON.parse(readFileSync(path.join(run, 'scores.json'), 'utf8'))).toMatchObject({
    suites: [{ suite: 'data.jsonl' }, expected],
  });
  for (const name of ['report.md', 'report.html']) {
    const report = path.join(site.dir, name);
    await condenser('report', run, '--out', report);
    expect(readFileSync(report, 'utf8')).toMatch(
      /Right answers, own\.jsonl.*\s*.*60 % \(23\.1 to 88\.2\), 3 of 5/,
    );
  }
});

test('a run is asked the rows it held out, and no others', async () => {
  const out = path.join(site.dir, 'held-out.jsonl');
  const said = await condenser('evaluate', run, '--suite', 'validation', '--max-new-tokens', '1', '--out', out, '--json'); // prettier-ignore
  const facts = await condenser('report', run, '--out', path.join(site.dir, 'facts.json'));
  expect(facts.status).toBe(0);
  const { runs } = JSON.parse(readFileSync(path.join(site.dir, 'facts.json'), 'utf8')) as {
    runs: { facts: { validationRows: number } }[];
  };
  const [document] = said.json();
  expect(document).toMatchObject({ suites: [{ suite: 'validation', n: runs[0]?.facts.validationRows }] });
  const rows = lines(out).map(({ row }) => row);
  expect(new Set(rows).size).toBe(rows.length);
});

test('of held-out rows too the right answer is the one in its own column', async () => {
  const rows = Array.from({ length: 12 }, (_, i) => ({
    instruction: `w${2 + i} w60`,
    output: `w${100 + i}`,
    answer: i === 5 ? 'w7 w8' : String(i),
  }));
  write('own-column.jsonl', [...rows, { instruction: 'w3', output: '', answer: '' }]);
  const spec = JSON.parse(readFileSync(site.runFile, 'utf8')) as object;
  const data = { train: [{ path: 'own-column.jsonl' }], validation: { fraction: 0.4 }, maxLength: 16 };
  const file = path.join(site.dir, 'own-column.json');
  writeFileSync(file, JSON.stringify({ ...spec, data }));
  const dir = path.join(site.dir, 'own-column');
  expect((await condenser('train', file, '--out', dir, '--home', site.home)).status).toBe(0);
  const out = path.join(site.dir, 'own-column-answers.jsonl');
  await condenser('evaluate', dir, '--suite', 'validation', '--max-new-tokens', '1', '--out', out);
  const asked = lines(out);
  expect(asked.length).toBeGreaterThan(0);
  for (const { row, right } of asked) expect(right).toBe(rows[Number(row) - 1]?.answer);
});

test('numbers are told from the right answers; the rule of published evaluators is reported beside', async () => {
  const suite = write('numbers.jsonl', [
    { question: 'w2 w60', output: '', answer: 'so 3 + 4 = 7\n#### 7' },
    { question: 'w3 w61', output: '', answer: 8 },
  ]);
  const said = await condenser('evaluate', site.model, '--suite', suite, '--max-new-tokens', '2', '--json');
  expect(said.json()[0]).toMatchObject({
    suites: [{ kind: 'number', n: 2, correct: 0, published: { correct: 0 } }],
  });
});

test.each([
  [[], /--suite is missing/],
  [['--suite', 'validation'], /a model folder has no validation rows/],
  [['--suite', 'nowhere.jsonl'], /nowhere\.jsonl/],
  [['--suite', 'DATA', '--answer', 'solution'], /data\.jsonl: row 1: no answer in the column "solution"/],
  [['--suite', 'DATA', '--kind', 'words'], /--kind is "words"/],
  [['--suite', 'DATA', '--out', 'DATA/answers.jsonl'], /answers\.jsonl could not be written/],
])('%j is refused', async (options, why) => {
  const given = options.map((option) => option.replace('DATA', site.data));
  const said = await condenser('evaluate', site.model, ...given);
  expect(said.status).toBe(2);
  expect(said.stderr).toMatch(why);
});
