import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { condenser, makeSite, type Site } from './cli.fixture.ts';

let site: Site;
let prompts: readonly string[];
let run: string;
beforeAll(async () => {
  site = makeSite();
  const file = (name: string, first: number) => {
    const out = path.join(site.dir, name);
    const rows = Array.from({ length: 24 }, (_, i) => ({
      question: Array.from({ length: 8 }, (_, j) => `w${first + ((7 * i + 3 * j + i * j) % 5)}`).join(' '),
    }));
    writeFileSync(out, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return out;
  };
  prompts = ['--refused', file('refused.jsonl', 100), '--benign', file('benign.jsonl', 20)];
  run = path.join(site.dir, 'run');
  const spec = JSON.parse(readFileSync(site.runFile, 'utf8')) as { train: object };
  const strong = path.join(site.dir, 'strong.json');
  writeFileSync(strong, JSON.stringify({ ...spec, train: { ...spec.train, learningRate: 0.02 } }));
  await condenser('train', strong, '--out', run, '--home', site.home);
});
afterAll(() => site.remove());

test('a model against itself has changed nothing', async () => {
  const said = await condenser('audit', site.model, site.model, ...prompts, '--json');
  const [document] = said.json();
  expect(document).toMatchObject({ refusedPrompts: 24, benignPrompts: 24, needsReview: false });
  const layers = document?.['layers'] as Record<string, unknown>[];
  expect(layers).toHaveLength(3);
  for (const layer of layers) {
    expect(layer).toMatchObject({ jaccard: 1, correlation: 1, refusedDrift: 0, benignDrift: 0, flags: [] });
    expect(layer['otherWeightChange']).toBe(0);
  }
  const units = layers.flatMap((layer) =>
    layer['units'] === null ? [] : [layer['units'] as Record<string, number>],
  );
  expect(units.length).toBeGreaterThan(0);
  for (const { localisedBase, localisedTuned, jaccard } of units) {
    expect(localisedTuned).toBe(localisedBase);
    expect(jaccard).toBe(1);
  }
  expect(units.reduce((sum, { localisedBase = 0 }) => sum + localisedBase, 0)).toBeGreaterThan(0);
  // Requests of other words go to other experts.
  expect(layers.reduce((sum, layer) => sum + Number(layer['profiledBase']), 0)).toBeGreaterThan(0);
});

test('the audit of a run is kept beside it and shown in its report', async () => {
  const before = path.join(site.dir, 'before.md');
  await condenser('report', run, '--out', before);
  expect(readFileSync(before, 'utf8')).not.toMatch(/Audit/);
  const out = path.join(site.dir, 'audit.json');
  const said = await condenser('audit', site.model, run, ...prompts, '--out', out, '--json');
  const [document] = said.json();
  expect(document).toMatchObject({ step: 4, files: [path.join(run, 'audit.json'), out] });
  expect(readFileSync(path.join(run, 'audit.json'), 'utf8')).toBe(readFileSync(out, 'utf8'));
  const layer = (document?.['layers'] as Record<string, number>[] | undefined)?.[0];
  expect(layer?.['refusedDrift']).toBeGreaterThan(0);
  expect(JSON.stringify(document?.['summary'])).toMatch(/units .* answer to refused requests more/);
  expect(layer?.['otherWeightChange']).toBeGreaterThan(0);
  // The run has condensers and a router bias.
  expect(layer).toHaveProperty('profiledCondensers');
  expect(layer).toHaveProperty('profiledRaised');
  for (const name of ['report.html', 'report.md']) {
    const report = path.join(site.dir, name);
    expect((await condenser('report', run, '--out', report)).status).toBe(0);
    expect(readFileSync(report, 'utf8')).toMatch(/Audit of the routing of refused requests/);
  }
  expect((await condenser('audit', site.model, run, ...prompts)).stdout).toMatch(/Fewer than 100 prompts/);
});

test('both models answer where they are asked to, and only the rates of refusals are kept', async () => {
  const said = await condenser('audit', site.model, run, ...prompts, '--answers', '3', '--json');
  const [document] = said.json();
  // The words of this model are no phrases of a refusal.
  const none = { base: { share: 0, low: 0 }, tuned: { share: 0, low: 0 } };
  expect(document?.['answers']).toMatchObject({ maxTokens: 3, refused: none, benign: none, flags: [] });
  expect(JSON.stringify(document?.['summary'])).toMatch(/the base model refuses 0.* % .*up to 3 tokens/);
  const report = path.join(site.dir, 'answers.md');
  await condenser('report', run, '--out', report);
  expect(readFileSync(report, 'utf8')).toMatch(/Of the benign ones the base model refuses/);
});

test('what cannot be audited is refused', async () => {
  const code = async (...argv: readonly string[]) =>
    (await condenser('audit', ...argv, '--json')).json()[0]?.['code'];
  expect(await code(site.model, site.model, ...prompts.slice(0, 2))).toBe('cli/missing-option');
  expect(await code(site.model, site.model, ...prompts, '--column', 'answer')).toBe('prompts/no-question');
  expect(await code(site.model, site.model, ...prompts, '--skip', '8')).toBe('prompts/none');
  const other = path.join(site.dir, 'pruned');
  await condenser('prune', site.model, '--out', other, '--score', 'magnitude');
  expect(await code(site.model, other, ...prompts)).toBe('audit/different-models');
  expect(existsSync(path.join(other, 'audit.json'))).toBe(false);
});
