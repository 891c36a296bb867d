import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { loadModel, type LoadedModel, type LoadRequest } from './load-model.ts';

const modelDir = join(import.meta.dirname, '../../resources/sample/sample-moe');
const opened: LoadedModel[] = [];
afterAll(() => opened.forEach((model) => model.close()));

const LENGTH = 24;
const inputIds = Int32Array.from({ length: LENGTH }, (_, i) => 5 + ((i * 37) % 200));
const batch = unpaddedBatch(inputIds, 1, inputIds);
const everywhere = inputIds.map((_, i) => i);

async function load(
  method: LoadRequest['method'],
  provider: LoadRequest['provider'] = 'cpu',
): Promise<LoadedModel> {
  const model = await loadModel({ modelDir, method, threads: 1, provider });
  opened.push(model);
  return model;
}

/** A model with local experts that say something, behind gates that all have the same bias. */
async function customised(
  options: Record<string, unknown>,
  gateBias = 0,
  provider: LoadRequest['provider'] = 'cpu',
): Promise<LoadedModel> {
  const model = await load({ name: 'local-expert', options }, provider);
  for (const { id, role } of model.store.parameters) {
    const values = model.store.weight(id).data as Float32Array;
    if (role === 'localUp') values.forEach((_, i) => (values[i] = Math.sin(i) / 4));
    if (role === 'localGateBias') values.fill(gateBias);
  }
  return model;
}

const logitsOf = async (model: LoadedModel) => (await model.executor.logits(batch, everywhere)).logits;

test('with a closed gate the model is the base, bit for bit, and with an open one it is not', async () => {
  const base = await logitsOf(await load({ name: 'full', options: {} }));
  expect(await logitsOf(await customised({ threshold: 0.5 }, -8))).toEqual(base);
  const open = await logitsOf(await customised({ threshold: 0.5 }, 8));
  expect(open).not.toEqual(base);
  expect(await logitsOf(await customised({ gate: 'none' }))).toEqual(open);
  expect(await logitsOf(await customised({}, -8))).not.toEqual(base);
});

test('a row that is decoded token by token has its local experts too', async () => {
  const { executor, plan } = await customised({});
  const { logits } = await executor.logits(batch, everywhere);
  await executor.decode(1, LENGTH, async (decoder) => {
    const fed = await decoder.feed([inputIds.slice(0, LENGTH - 1)]);
    const last = await decoder.step(inputIds.slice(LENGTH - 1));
    for (const [at, row] of [fed, last].entries()) {
      const from = (LENGTH - 2 + at) * plan.vocabularySize;
      row.forEach((value, i) => expect(value).toBeCloseTo(logits[from + i] ?? NaN, 3));
    }
  });
});

test('mixed outputs are those of the base where the gate is closed, and a row is decoded as it is read', async () => {
  const targets = { ...batch, labels: inputIds };
  // Before its first step it is the base, with a head that is frozen too.
  const base = await load({ name: 'local-expert', options: {} });
  const closed = await customised({ mixture: 'output', threshold: 0.5 }, -8);
  expect(await closed.executor.evaluate(targets)).toEqual(await base.executor.evaluate(targets));
  const open = await customised({ mixture: 'output', gate: 'none' });
  const residual = await customised({ gate: 'none' });
  expect(await open.executor.evaluate(targets)).toEqual(await residual.executor.evaluate(targets));

  const { executor, plan } = await customised({ mixture: 'output' });
  const { logits } = await executor.logits(batch, everywhere);
  await executor.decode(1, LENGTH, async (decoder) => {
    const fed = await decoder.feed([inputIds.slice(0, LENGTH - 1)]);
    const last = await decoder.step(inputIds.slice(LENGTH - 1));
    for (const [at, row] of [fed, last].entries()) {
      const from = (LENGTH - 2 + at) * plan.vocabularySize;
      row.forEach((value, i) => expect(value).toBeCloseTo(logits[from + i] ?? NaN, 3));
    }
  });
});

test('the gradient of mixed outputs is that of their loss', async () => {
  const targets = { ...batch, labels: inputIds };
  const { executor, store } = await customised({ mixture: 'output', wrongTokenGain: 0, rank: 4 }, 0.3);
  const { lossSum } = await executor.train(targets, 1, 1);
  expect(lossSum).toBeCloseTo((await executor.evaluate(targets)).lossSum, 3);
  for (const [id, at] of [
    ['localGateBias', 0],
    ['localGate', 7],
    ['layers.0.localUp', 5],
    ['layers.2.localDown', 9],
  ] as const) {
    const values = store.weight(id).data as Float32Array;
    const own = values[at] ?? NaN;
    const lossAt = async (value: number) => {
      values[at] = value;
      return (await executor.evaluate(targets)).lossSum;
    };
    const slope = ((await lossAt(own + 0.02)) - (await lossAt(own - 0.02))) / 0.04;
    values[at] = own;
    const gradient = (store.gradient(id).data as Float32Array)[at] ?? NaN;
    expect(Math.abs(gradient - slope), id).toBeLessThan(0.02 * Math.abs(slope) + 0.01);
  }
});

test.runIf(process.env['VK_ICD_FILENAMES'] !== undefined)(
  'mixed outputs have the gradients of the CPU on a graphics adapter',
  async () => {
    const options = { mixture: 'output', rank: 4 };
    const train = async (provider: LoadRequest['provider']) => {
      const { executor, optimizer } = await customised(options, 0.3, provider);
      const { lossSum } = await executor.train({ ...batch, labels: inputIds }, 1, 1);
      return { lossSum, squares: optimizer.gradientSquares() };
    };
    const [onCpu, onDevice] = [await train('cpu'), await train('webgpu')];
    expect(onDevice.lossSum / onCpu.lossSum).toBeCloseTo(1, 4);
    expect([...onCpu.squares.keys()]).toContain('localGate');
    for (const [id, square] of onCpu.squares) {
      expect(square, id).toBeGreaterThan(0);
      expect((onDevice.squares.get(id) ?? NaN) / square, id).toBeCloseTo(1, 2);
    }
  },
  60_000,
);

test('before the first step the model is the base', async () => {
  const base = await logitsOf(await load({ name: 'full', options: {} }));
  expect(await logitsOf(await load({ name: 'local-expert', options: {} }))).toEqual(base);
});

test('tokens that the base predicts wrong count more, whatever local experts say', async () => {
  const base = await load({ name: 'full', options: {} });
  const logits = await logitsOf(base);
  const width = base.plan.vocabularySize;
  const likeliest = everywhere.map((at) => {
    const row = logits.subarray(at * width, (at + 1) * width);
    return row.indexOf(row.reduce((max, value) => Math.max(max, value), -Infinity));
  });
  // Every second target is what the base predicts.
  const labels = inputIds.map((id, at) => (at > 0 && at % 2 === 0 ? (likeliest[at - 1] ?? id) : id));
  const lossOf = async (wrongTokenGain: number, only: (at: number) => boolean) => {
    const model = await customised({ gate: 'none', wrongTokenGain });
    const some = { ...batch, labels: labels.map((label, at) => (only(at) ? label : -100)) };
    return (await model.executor.train(some, 10, 1)).lossSum;
  };
  const right = await lossOf(0, (at) => at % 2 === 0);
  expect(await lossOf(2, (at) => at % 2 === 0)).toBe(right);
  const wrong = await lossOf(0, (at) => at % 2 === 1);
  expect(await lossOf(2, (at) => at % 2 === 1)).toBeCloseTo(3 * wrong, 3);
});

test('nothing that a mixed output depends on may train', async () => {
  await expect(load({ name: 'local-expert', options: { mixture: 'output', trains: 'all' } })).rejects.toThrow(
    'embedding would train',
  );
});

test('only what is added trains', async () => {
  const { store } = await customised({ rank: 4 });
  const trained = store.parameters.filter(({ id }) => store.isTrained(id)).map(({ role }) => role);
  expect(new Set(trained)).toEqual(new Set(['localDown', 'localUp', 'localGate', 'localGateBias']));
});
