import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Comparison } from '#core/contract/run.ts';
import { condenser, makeSite, type Site } from './cli.fixture.ts';

let site: Site;
beforeAll(() => {
  site = makeSite();
});
afterAll(() => site.remove());

const out = () => path.join(site.dir, 'fair');
const write = (more: object) => {
  const run = JSON.parse(readFileSync(site.runFile, 'utf8')) as { method?: object };
  delete run.method;
  const file = path.join(site.dir, 'comparison.json');
  const terms = { methods: [{ name: 'full' }, { name: 'frozen-router' }], seeds: [1, 2] };
  writeFileSync(file, JSON.stringify({ ...run, name: 'fair', ...terms, ...more }));
  return file;
};

test('trains every method with every seed on equal terms, and goes on where it was', async () => {
  const file = write({});
  const compared = await condenser('compare', file, '--out', out(), '--home', site.home, '--json');
  expect(compared).toMatchObject({ status: 0 });
  const [result, ...more] = compared.json();
  expect(more).toEqual([]);
  const { groups, caveats, notComparable } = Comparison.parse(result);
  expect(groups.map(({ label, seeds }) => [label, seeds])).toEqual([
    ['fair · full', [1, 2]],
    ['fair · frozen-router', [1, 2]],
  ]);
  expect([caveats, notComparable]).toEqual([[], []]);
  const [full, frozen] = groups;
  expect(full?.measures.tokens?.mean).toBe(frozen?.measures.tokens?.mean);
  // Two of eight experts in each layer.
  expect(full?.measures.activeExperts).toEqual({ mean: 2, half: 0, runs: 2 });
  expect(frozen?.measures.trainableParameters?.mean).toBeLessThan(
    full?.measures.trainableParameters?.mean ?? 0,
  );
  expect(frozen?.difference?.runs).toBe(2);
  expect(readFileSync(path.join(out(), 'report.html'), 'utf8')).toContain('Over seeds');
  const second = '02-frozen-router-seed-1';
  expect(readdirSync(path.join(out(), 'runs'))).toContain(second);
  // One run is gone, the others are as they were: only that one is trained again.
  rmSync(path.join(out(), 'runs', second), { recursive: true });
  const again = await condenser('compare', file, '--out', out(), '--home', site.home);
  expect(again.stderr).toContain('2 of 4, fair · frozen-router · seed 1: ');
  expect(again.stderr).not.toContain('1 of 4');
  expect(again.stdout).toContain('fair · frozen-router  1, 2');
  // Results of another document are not taken for its own.
  const longer = write({ train: { steps: 5, microBatch: 2, gradientAccumulation: 1 } });
  const differs = await condenser('compare', longer, '--out', out(), '--home', site.home);
  expect([differs.status, differs.stderr]).toEqual([2, expect.stringContaining('has other settings')]);
});

test('learning rates of a method: the best one is held against the other method', async () => {
  const methods = [{ name: 'frozen-router' }, { name: 'full', learningRates: [1e-9, 1e-2] }];
  const out = path.join(site.dir, 'sweep');
  const file = write({ methods, seeds: [1] });
  const compared = await condenser('compare', file, '--out', out, '--home', site.home, '--json');
  const { groups, rateChoice } = Comparison.parse(compared.json()[0]);
  const loss = ({ measures }: (typeof groups)[number]) => measures.validationLoss?.mean ?? NaN;
  expect(groups.map(({ label, learningRate, bestRate }) => [label, learningRate, bestRate])).toEqual([
    ['fair · frozen-router', 1e-3, undefined],
    ['fair · full', 1e-9, false],
    ['fair · full', 1e-2, true],
  ]);
  const [frozen, low, high] = groups;
  if (!frozen || !low || !high) throw new Error('three groups');
  // A rate of 1e-9 learns nothing.
  expect(loss(high)).toBeLessThan(loss(low));
  expect(low.difference?.mean).toBeCloseTo(loss(low) - loss(frozen), 12);
  expect(high.difference?.mean).toBeCloseTo(loss(high) - loss(frozen), 12);
  expect(rateChoice).toHaveLength(3);
  const said = await condenser('compare', file, '--out', out, '--home', site.home);
  expect(said.stdout).toContain('1e-2 (best)');
  expect(said.stdout).toContain('“fair · full” is compared at learning rate 1e-2, which has the lowest');
  expect(readFileSync(path.join(out, 'report.html'), 'utf8')).toContain('is compared at learning rate 1e-2');
});

test('says what is wrong in the document', async () => {
  const wrong = async (more: object) => (await condenser('compare', write(more), '--home', site.home)).stderr;
  expect(await wrong({ seeds: [1, 1] })).toContain('a seed is given twice');
  const rates = (...learningRates: number[]) => ({ methods: [{ name: 'full', learningRates }] });
  expect(await wrong(rates(1e-3, 0.001))).toContain(
    'methods.0.learningRates: a learning rate is given twice',
  );
  expect(await wrong({ method: { name: 'full' } })).toContain('method does not belong into a comparison');
  expect(await wrong({ train: { steps: 4, seed: 3 } })).toContain('train.seed does not belong');
  expect(await wrong({ train: { stepps: 4 } })).toContain('train.stepps (did you mean steps?)');
});
