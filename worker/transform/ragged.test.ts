import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openModelFolder } from '#worker/checkpoint/index.ts';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { storedValues, writeModel, writeOnnx } from '#worker/export/index.ts';
import { plainSession } from '#worker/methods/index.ts';
import {
  elementCount,
  parametersOf,
  plainRouting,
  routerShapes,
  type Parameter,
} from '#worker/model/index.ts';
import { decoderOf, inspectModel, loadModel, type LoadedModel } from '#worker/train/index.ts';
import { writeDenseModel } from './dense-model.fixture.ts';
import { scoreNeurons } from './neuron-scores.ts';
import { seededDraws, upcycle } from './upcycle.ts';
import { writePruned } from './write-pruned.ts';
import path from 'node:path';

let work = '';
/** The same neurons dropped: as zeros, and from flat tensors. */
let masked = '';
let ragged = '';
beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'condenser-ragged-'));
  const [dense, whole] = [path.join(work, 'dense'), path.join(work, 'whole')];
  writeDenseModel(dense, 'qwen3');
  const size = { experts: 4, expertsPerToken: 2, every: 1, dtype: 'source' } as const;
  await upcycle({ modelDir: dense, out: whole, ...size, draws: seededDraws(1, 0.1) });
  const source = await openModelFolder(whole);
  const neurons = (count: number) => Array.from({ length: count }, (_, i) => 2 * i);
  // Of 48; one expert of the second layer is emptied.
  const dropped = [
    [neurons(0), neurons(3), neurons(10), neurons(24)],
    [neurons(5), Array.from({ length: 48 }, (_, i) => i), neurons(20), neurons(1)],
  ];
  const from = { source, ...decoderOf(source), dropped };
  const write = async (layout: 'mask' | 'ragged') => {
    const out = path.join(work, layout);
    await writePruned(from, { out, layout, dtype: 'source', extraFiles: new Map() });
    return out;
  };
  [masked, ragged] = [await write('mask'), await write('ragged')];
  source.close();
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

const inputIds = Int32Array.from({ length: 24 }, (_, i) => 2 + ((7 * i) % 190));
const batch = unpaddedBatch(inputIds, 1, inputIds);
const everywhere = inputIds.map((_, at) => at);

async function withModel<T>(
  modelDir: string,
  name: string,
  work_: (model: LoadedModel) => Promise<T>,
  provider: 'cpu' | 'webgpu' = 'cpu',
) {
  const options = name === 'lora' ? { rank: 2 } : {};
  const model = await loadModel({ modelDir, method: { name, options }, threads: 1, provider });
  try {
    return await work_(model);
  } finally {
    model.close();
  }
}

const logitsOf = (modelDir: string) =>
  withModel(modelDir, 'full', async ({ executor }) => (await executor.logits(batch, everywhere)).logits);

const apart = (a: Float32Array, b: Float32Array) => Math.max(...a.map((x, i) => Math.abs(x - (b[i] ?? NaN))));

test('a ragged checkpoint computes what the masked one does, and has fewer parameters', async () => {
  expect(apart(await logitsOf(ragged), await logitsOf(masked))).toBeLessThan(1e-4);
  const [small, large] = [await inspectModel(ragged), await inspectModel(masked)];
  expect(small.problems).toEqual([expect.stringContaining('tokenizer')]);
  // Three matrices of 32 columns for each dropped neuron.
  const gone = 3 * 32 * (3 + 10 + 24 + 5 + 48 + 20 + 1);
  expect(large.parameters.total - small.parameters.total).toBe(gone);
});

test.runIf(process.env['VK_ICD_FILENAMES'] !== undefined)(
  'a ragged checkpoint trains on a graphics adapter as on the CPU',
  async () => {
    const train = (provider: 'cpu' | 'webgpu') =>
      withModel(
        ragged,
        'full',
        async ({ executor, optimizer }) => {
          const { lossSum } = await executor.train(batch, 24, 1);
          return { lossSum, squares: optimizer.gradientSquares() };
        },
        provider,
      );
    const [onCpu, onDevice] = [await train('cpu'), await train('webgpu')];
    expect(onDevice.lossSum / onCpu.lossSum).toBeCloseTo(1, 4);
    for (const [id, square] of onCpu.squares) {
      const other = onDevice.squares.get(id) ?? NaN;
      expect(Math.abs(other - square), id).toBeLessThanOrEqual(1e-3 * square);
    }
  },
  60_000,
);

test.each(['full', 'lora', 'densemixer', 'default-moe', 'ds-moe'])(
  '%s trains it with the gradients of the masked one',
  async (name) => {
    const trained = (modelDir: string) =>
      withModel(modelDir, name, async ({ executor, store }) => {
        const { lossSum } = await executor.train(batch, inputIds.length, 1);
        store.completeGradients();
        const id = name === 'lora' ? 'layers.0.query.loraB' : 'layers.0.router';
        return { lossSum, gradient: Float32Array.from(store.gradient(id).data as Float32Array) };
      });
    const [own, reference] = [await trained(ragged), await trained(masked)];
    expect(own.lossSum).toBeCloseTo(reference.lossSum, 3);
    expect(Math.max(...reference.gradient.map(Math.abs))).toBeGreaterThan(1e-3);
    expect(apart(own.gradient, reference.gradient)).toBeLessThan(1e-4);
  },
);

test('trained experts are written back into their flat tensors', async () => {
  const out = path.join(work, 'changed');
  const source = await openModelFolder(ragged);
  const { family, plan } = decoderOf(source);
  const values = new Map(
    parametersOf(plan).map(({ id, shape }, at) => [
      id,
      Float32Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(at + i) / 8),
    ]),
  );
  const parameters = parametersOf(plan);
  await writeModel(
    {
      source,
      family,
      plan,
      parameters,
      isChanged: ({ expert }) => expert !== null,
      values: ({ id }) => values.get(id) ?? new Float32Array(),
    },
    out,
    'source',
  );
  source.close();
  const written = parameters.filter(({ expert }) => expert !== null);
  const read = await withModel(out, 'full', ({ store }) =>
    Promise.resolve(written.map(({ id }) => store.values(id))),
  );
  expect(read).toEqual(written.map(({ id }) => values.get(id)));
});

test('what needs experts of one width is refused', async () => {
  const pruned = withModel(ragged, 'full', (model) => scoreNeurons(model, 'magnitude', []));
  await expect(pruned).rejects.toMatchObject({ code: 'prune/ragged-source' });
  const method = { name: 'evomoe', options: { diversifyShare: 0.5 } };
  await expect(loadModel({ modelDir: ragged, method })).rejects.toMatchObject({ code: 'method/widths' });
});

test('widths that do not fit the model are named', async () => {
  const source = await openModelFolder(ragged);
  const config = structuredClone(source.config) as {
    less_is_moe: { expert_intermediate_sizes: Record<string, number[]> };
  };
  source.close();
  config.less_is_moe.expert_intermediate_sizes['1'] = [3, 4];
  expect(() => decoderOf({ config: { ...config }, additions: null })).toThrow(
    'has 2 widths for layer 1, which has 4 experts',
  );
});

test('a ragged model is exported as ONNX, in which the experts have their own widths', async () => {
  const source = await openModelFolder(ragged);
  try {
    const from = { source, ...decoderOf(source) };
    const parameters = parametersOf(from.plan);
    const values = (parameter: Parameter) => storedValues(from, parameter);
    const session = plainSession(from.plan, { losses: [], routing: plainRouting(routerShapes(from.plan)) });
    const out = path.join(work, 'onnx');
    const written = await writeOnnx(
      { ...from, parameters, isChanged: () => false, values },
      session,
      out,
      'F32',
    );
    expect(written.logits.largestDifference).toBeLessThan(1e-4);
    expect(written.tensors).toBe(parameters.length);
  } finally {
    source.close();
  }
});
