import { expect, test } from 'vitest';
import { parseRunSpec, type RunSpecInput } from './run-spec.ts';

const least: RunSpecInput = {
  model: { path: 'model' },
  data: { train: [{ path: 'rows.jsonl' }] },
  method: { name: 'full' },
};

test('what is left out has its default', () => {
  const spec = parseRunSpec(least);
  expect(spec).toMatchObject({
    version: 1,
    name: 'untitled run',
    data: { validation: { fraction: 0.02 }, maxLength: 512, packing: true, lossOn: 'completion' },
    method: { options: {} },
    train: { epochs: 1, microBatch: 4, learningRate: 1e-5, optimizer: { name: 'adamw', weightDecay: 0 } },
    evaluate: { everySteps: 50 },
    checkpoint: { everySteps: 100, keep: 3 },
    engine: { provider: 'auto', threads: 'auto', memoryBudgetMB: null, deviceMemoryMB: null },
  });
  // The document with its defaults written out means the same.
  expect(parseRunSpec(JSON.parse(JSON.stringify(spec)))).toEqual(spec);
  expect(parseRunSpec({ ...least, train: { steps: 5 } }).train).not.toHaveProperty('epochs');
});

test.each<[string, object, string]>([
  ['at the top', { modle: {} }, 'unknown field modle (did you mean model?)'],
  ['in a section', { train: { learnRate: 1 } }, 'unknown field train.learnRate (did you mean learningRate?)'],
  [
    'in a deep section',
    { train: { optimizer: { beta: [0, 0] } } },
    'train.optimizer.beta (did you mean betas?)',
  ],
  [
    'that is no way to pack',
    { data: { packing: 'sorted' } },
    'data.packing: expected true, false or "buckets"',
  ],
  [
    'in a list',
    { data: { train: [{ path: 'a', maping: {} }] } },
    'unknown field data.train.0.maping (did you mean mapping?)',
  ],
  ['that resembles none', { zzzzzzzz: 1 }, 'unknown field zzzzzzzz (known: version, name, model'],
])('an unknown field %s is named with the nearest known one', (_where, change, message) => {
  expect(() => parseRunSpec({ ...least, ...change }, 'my.json')).toThrow(
    expect.objectContaining({
      code: 'run-spec/invalid',
      message: expect.stringMatching(/^my\.json: /) as string,
      hint: expect.any(String) as string,
    }),
  );
  expect(() => parseRunSpec({ ...least, ...change })).toThrow(message);
});

test.each<[string, unknown, string]>([
  ['no object', [], 'RUN.json: '],
  ['no data', { ...least, data: { train: [] } }, 'data.train: '],
  ['a text for a number', { ...least, train: { steps: '5' } }, 'train.steps: '],
  ['no steps', { ...least, train: { steps: 0 } }, 'train.steps: '],
  ['a rate below zero', { ...least, train: { learningRate: -1 } }, 'train.learningRate: '],
  ['a rate that is no number', { ...least, train: { learningRate: NaN } }, 'train.learningRate: '],
  ['a seed beyond 32 bits', { ...least, train: { seed: 2 ** 32 } }, 'train.seed: '],
  ['unknown moments', { ...least, train: { optimizer: { moments: 'int4' } } }, 'train.optimizer.moments: '],
  ['an unknown provider', { ...least, engine: { provider: 'tpu' } }, 'engine.provider: '],
  ['a later version', { ...least, version: 2 }, 'version: '],
  [
    'epochs and steps',
    { ...least, train: { epochs: 1, steps: 1 } },
    'train.epochs and train.steps are both given',
  ],
  [
    'general data and nothing held out',
    { ...least, data: { ...least.data, general: [{ path: 'g.jsonl' }], validation: { fraction: 0 } } },
    'data.general is measured together with the validation loss',
  ],
])('%s is refused with its field', (_what, document, message) => {
  expect(() => parseRunSpec(document)).toThrow(
    expect.objectContaining({
      code: 'run-spec/invalid',
      message: expect.stringContaining(message) as string,
    }),
  );
});
