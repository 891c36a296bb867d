import { expect, test } from 'vitest';
import { Comparison } from '#core/contract/run.ts';
import { compareRuns } from './compare-runs.ts';
import { gini, jensenShannon } from '#core/load/load-metrics.ts';
import { runFixture } from './testing/run-fixture.ts';

test('numbers of a run follow from its steps and records', () => {
  const run = runFixture({
    evaluations: [
      [50, 1.4],
      [100, 1.3],
    ],
    step: { rssMB: 1234 },
    load: (r, n, l, e) => (l === 0 && r >= n / 2 && e === 0 ? 50 : 10),
  });
  const comparison = compareRuns([run]);
  expect(Comparison.parse(comparison)).toEqual(comparison);
  const [compared] = comparison.runs;
  expect(compared).toMatchObject({
    id: 'run_a',
    steps: 100,
    finalValidationLoss: 1.3,
    tokens: 100_000,
    seconds: 50,
    tokensPerSecond: 2000,
    peakRssMB: 1234,
    trainableParameters: 1_200_000,
  });
  // Mean of the last ten of 2 − i/100.
  expect(compared?.finalLoss).toBeCloseTo(2 - 0.945, 12);
  expect(compared?.gini_L[0]).toBeCloseTo(gini([50, 10, 10, 10]) / 2, 12);
  expect(compared?.gini_L[1]).toBeCloseTo(0, 12);
  expect(compared?.drift_L[0]).toBeCloseTo(jensenShannon([10, 10, 10, 10], [50, 10, 10, 10]), 12);
  expect(compared?.drift_L[1]).toBe(0);
  expect([comparison.differences, comparison.caveats]).toEqual([[], []]);
});

test('forgetting is the loss on general data at the end minus that at the start', () => {
  const withGeneral = (id: string, hash: string, final: number) => {
    const run = runFixture({ id, evaluations: [[0, 1.4], [50, 1.2], [100, 1.3]] }); // prettier-ignore
    const evaluations = run.series.evaluations.map((evaluation, i) => ({
      ...evaluation,
      general: { loss: [2, 5, final][i] ?? 0, trainedTokens: 10 },
    }));
    return {
      ...run,
      spec: { ...run.spec, data: { ...run.spec.data, general: [{ path: 'general.jsonl' }] } },
      facts: run.facts && { ...run.facts, hashes: { ...run.facts.hashes, general: hash } },
      series: { ...run.series, evaluations },
    };
  };
  const same = compareRuns([withGeneral('run_a', 'g', 2.5), withGeneral('run_b', 'g', 1.75)]);
  expect(same.runs.map(({ forgetting }) => forgetting)).toEqual([0.5, -0.25]);
  expect(same.notComparable).not.toContain('forgetting');
  const other = compareRuns([withGeneral('run_a', 'g', 2.5), withGeneral('run_b', 'h', 1.75)]);
  expect(other.notComparable).toEqual(['forgetting']);
});

test('what was not measured is absent', () => {
  const run = runFixture({ steps: 1 });
  const [compared] = compareRuns([
    { ...run, facts: null, routing: [], series: { steps: [], evaluations: [], events: [] } },
  ]).runs;
  expect(compared).toEqual({
    id: 'run_a',
    name: 'a run',
    method: 'full',
    state: 'completed',
    steps: 0,
    tokens: 0,
    seconds: 0,
    gini_L: [],
    drift_L: [],
  });
});

test('fields that differ are listed by path, the name is not one of them', () => {
  const { differences } = compareRuns([
    runFixture({ name: 'one' }),
    runFixture({
      name: 'two',
      spec: { method: { name: 'lora', options: { rank: 8 } }, train: { steps: 100, maxGradNorm: null } },
    }),
  ]);
  expect(differences).toEqual([
    { field: 'method.name', values: ['"full"', '"lora"'] },
    { field: 'method.options.rank', values: [null, '8'] },
    { field: 'train.maxGradNorm', values: ['1', 'null'] },
  ]);
});

test('of methods named together every option has the name of its method in its path', () => {
  const methods = [{ name: 'lora', options: { rank: 8 } }, { name: 'expert-condenser' }, { name: 'lora' }];
  const { differences } = compareRuns([
    runFixture({}),
    runFixture({ spec: { method: { name: 'compose', options: { methods } } } }),
  ]);
  expect(differences).toEqual([
    { field: 'method.name', values: ['"full"', '"lora + expert-condenser + lora"'] },
    { field: 'method.options.lora.rank', values: [null, '8'] },
  ]);
});

test('each caveat has its cause', () => {
  const base = { spec: {} };
  const caveats = (...shapes: Parameters<typeof runFixture>[0][]) =>
    compareRuns(shapes.map((shape) => runFixture(shape))).caveats.filter(
      (text) => !text.includes('one seed only'),
    );
  const hashes = { model: 'aa', data: 'bb', tokenizer: 'cc', code: 'dd' };
  const data = { train: [{ path: '/data/rows.jsonl' }] };
  expect(caveats(base, base)).toEqual([]);
  expect(caveats(base, { hashes: { ...hashes, model: 'x' } })).toEqual([
    'The runs start from different base models.',
  ]);
  expect(caveats(base, { hashes: { ...hashes, data: 'x' } })).toEqual([
    'The runs read different training data.',
  ]);
  expect(caveats(base, { spec: { data: { ...data, validation: { fraction: 0.1 } } } })).toEqual([
    'The validation rows differ, so the validation losses measure different things.',
  ]);
  expect(caveats(base, { spec: { data: { ...data, lossOn: 'all' } } })).toEqual([
    'The loss counts different tokens (data.lossOn, data.template or data.maxLength differ).',
  ]);
  expect(caveats(base, { spec: { data: { ...data, packing: 'buckets' } } })).toEqual([
    'The runs put their examples into micro-batches differently (data.packing), and so take them in another order.',
  ]);
  expect(caveats(base, { steps: 150 })).toEqual([
    'The token budgets differ: between 100,000 and 150,000 tokens, 50 % more.',
  ]);
  expect(caveats(base, { name: 'b', state: 'stopped' })).toEqual(['Not completed: “b” (stopped).']);
  expect(caveats(base, { spec: { engine: { frozenExperts: 'int8' } } })).toEqual([
    'Frozen experts were held differently (engine.frozenExperts): speed and memory follow from it, and losses have a rounding in them.',
  ]);
  expect(caveats(base, { halfParameters: 1000 })).toEqual([
    expect.stringMatching(/^Frozen weights lay on the graphics adapter in float16 in some of the runs/),
  ]);
  expect(caveats(base, { hashes: { ...hashes, code: 'x' } })).toEqual([
    'The runs were made by different versions of the program.',
  ]);
  expect(caveats(base, { spec: { method: { name: 'lora' }, train: { steps: 100, seed: 7 } } })).toEqual([
    'The runs differ in their seed besides their settings, and with it in the order of the data.',
  ]);
});

test('one seed only is said, several seeds of each setting are not', () => {
  const seeded = (seed: number) => runFixture({ spec: { train: { steps: 100, seed } } });
  expect(compareRuns([seeded(1), seeded(1)]).caveats).toEqual([expect.stringContaining('one seed only')]);
  expect(compareRuns([seeded(1), seeded(2)]).caveats).toEqual([]);
});

test('token budgets are held against each other at the same seed', () => {
  const of = (method: string, seed: number, tokens: number) =>
    runFixture({ step: { tokens }, spec: { method: { name: method }, train: { steps: 100, seed } } });
  const fair = [of('full', 1, 1000), of('lora', 1, 1000), of('full', 2, 1100), of('lora', 2, 1100)];
  expect(compareRuns(fair)).toMatchObject({ caveats: [], notComparable: [] });
  expect(compareRuns([...fair.slice(0, 3), of('lora', 2, 1300)]).caveats).toEqual([
    'The token budgets differ: between 110,000 and 130,000 tokens, 18 % more.',
  ]);
  // One setting alone has nothing to be unequal to.
  expect(compareRuns([of('full', 1, 1000), of('full', 2, 1100)]).caveats).toEqual([]);
});
