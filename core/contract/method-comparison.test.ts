import { expect, test } from 'vitest';
import { parseComparison, rateText } from './method-comparison.ts';

const document = (terms: object) => ({
  name: 'fair',
  model: { path: '/models/tiny' },
  data: { train: [{ path: '/data/rows.jsonl' }] },
  train: { steps: 5, learningRate: 2e-5 },
  ...terms,
});
const runsOf = (terms: object) =>
  parseComparison(document(terms), 'COMPARISON.json').map(({ name, train }) => [name, train.learningRate]);

test('a method is trained with each of its learning rates, one without any at that of the document', () => {
  const methods = [{ name: 'full' }, { name: 'lora', learningRates: [1e-4, 2.5e-4] }];
  expect(runsOf({ methods, seeds: [1, 2] })).toEqual([
    ['fair · full · seed 1', 2e-5],
    ['fair · lora · rate 1e-4 · seed 1', 1e-4],
    ['fair · lora · rate 2.5e-4 · seed 1', 2.5e-4],
    ['fair · full · seed 2', 2e-5],
    ['fair · lora · rate 1e-4 · seed 2', 1e-4],
    ['fair · lora · rate 2.5e-4 · seed 2', 2.5e-4],
  ]);
});

test('methods named together are called by their names', () => {
  const methods = [{ name: 'lora' }, { name: 'expert-condenser' }];
  const together = { name: 'compose', options: { methods } };
  expect(runsOf({ methods: [together, { name: 'lora' }, together], seeds: [1] })).toEqual([
    ['fair · lora + expert-condenser · seed 1', 2e-5],
    ['fair · lora · seed 1', 2e-5],
    ['fair · lora + expert-condenser 2 · seed 1', 2e-5],
  ]);
});

test('runs that differ in learning rate differ in nothing else but their name', () => {
  const [low, high] = parseComparison(
    document({ methods: [{ name: 'full', learningRates: [1e-5, 1e-3] }], seeds: [3] }),
    'COMPARISON.json',
  );
  const rest = (run: typeof low) => ({ ...run, name: '', train: { ...run?.train, learningRate: 0 } });
  expect(rest(low)).toEqual(rest(high));
});

test('wrong learning rates are named by their place', () => {
  const seeds = [1];
  const wrong = (learningRates: unknown) => () =>
    runsOf({ methods: [{ name: 'full', learningRates }], seeds });
  expect(wrong([1e-3, 0.001])).toThrow('methods.0.learningRates: a learning rate is given twice');
  expect(wrong([1e-3, 0])).toThrow('methods.0.learningRates.1');
  expect(wrong([])).toThrow('methods.0.learningRates');
  expect(() => runsOf({ methods: [{ name: 'full', learningRate: 1 }], seeds })).toThrow(
    'did you mean learningRates?',
  );
});

test('a comparison that is too large says what it counted', () => {
  const learningRates = Array.from({ length: 9 }, (_, i) => 1e-5 * (i + 1));
  const methods = [{ name: 'full', learningRates }, { name: 'lora' }];
  expect(() => runsOf({ methods, seeds: [1, 2, 3, 4, 5] })).toThrow(
    '10 methods, counted once for each of their learning rates, with 5 seeds each are 50 runs',
  );
});

test('rates are written as powers of ten', () => {
  expect([1e-5, 0.00025, 0.001, 1].map(rateText)).toEqual(['1e-5', '2.5e-4', '1e-3', '1e+0']);
});
