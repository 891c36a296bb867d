import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exportHfFolder, openModelFolder } from '#worker/checkpoint/index.ts';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { moeLayerIndices, parameterId } from '#worker/model/index.ts';
import { loadModel, type LoadedModel } from '#worker/train/index.ts';
import { writeDenseModel } from './dense-model.fixture.ts';
import { ThinnedModel, rankExperts, removedExperts } from './expert-study.ts';
import { scoreNeurons, takesGradients, type NeuronScoreName } from './neuron-scores.ts';
import { selectNeurons } from './select-neurons.ts';
import { seededDraws, upcycle } from './upcycle.ts';
import { writePruned, type PrunedLayout } from './write-pruned.ts';
import path from 'node:path';

const olmoe = path.join(import.meta.dirname, '../testing/goldens/families/olmoe/model');
const full = { name: 'full', options: {} };
let work = '';
let dense = '';
beforeAll(() => {
  work = mkdtempSync(path.join(tmpdir(), 'condenser-transform-'));
  dense = path.join(work, 'qwen3');
  writeDenseModel(dense, 'qwen3');
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** One row of 12 tokens, all but the first trained. */
function sample(start: number) {
  const inputIds = Int32Array.from({ length: 12 }, (_, i) => 2 + ((start + 7 * i) % 90));
  return unpaddedBatch(inputIds, 1, inputIds);
}

async function withModel<T>(modelDir: string, work_: (model: LoadedModel) => Promise<T>): Promise<T> {
  const model = await loadModel({ modelDir, method: full, trains: ({ expert }) => expert !== null });
  try {
    return await work_(model);
  } finally {
    model.close();
  }
}

const scoresOf = (name: NeuronScoreName, perHit = false) =>
  withModel(olmoe, (model) => scoreNeurons(model, name, [sample(1), sample(5)], { perHit, seed: 3 }));

const logitsOf = (modelDir: string) =>
  withModel(
    modelDir,
    async (model) =>
      (
        await model.executor.logits(
          sample(1),
          Int32Array.from({ length: 12 }, (_, i) => i),
        )
      ).logits,
  );

const apart = (a: Float32Array, b: Float32Array) => Math.max(...a.map((x, i) => Math.abs(x - (b[i] ?? NaN))));

test('activation scores are those of neurons computed from weights and inputs', async () => {
  const { scores_LEI, hits_LE, samples } = await scoresOf('activation');
  expect(samples).toBe(24);
  // Two of eight experts for each of 24 tokens.
  for (const hits_E of hits_LE ?? []) expect(hits_E.reduce((sum, hits) => sum + hits, 0)).toBe(48);
  const want = await withModel(olmoe, async (model) => {
    const mean = new Float64Array(scores_LEI[0]?.[0]?.length ?? 0);
    const [gate, up] = ['expertGate', 'expertUp'].map((role) =>
      model.store.values(`layers.0.experts.0.${role}`),
    );
    for (const batch of [sample(1), sample(5)]) {
      await model.executor.observe(batch, ({ trace }, moeIndex) => {
        if (moeIndex > 0) return Promise.resolve();
        const [tokens = 0, hidden = 0] = trace.x.shape;
        for (let token = 0; token < tokens; token++) {
          if (trace.weights.data[token * 8] === 0) continue;
          const x = trace.x.data.subarray(token * hidden, (token + 1) * hidden);
          mean.forEach((_, j) => {
            const dot = (w?: Float32Array) =>
              x.reduce((sum, v, c) => sum + v * (w?.[j * hidden + c] ?? NaN), 0);
            const g = dot(gate);
            mean[j] = (mean[j] ?? 0) + Math.abs((g / (1 + Math.exp(-g))) * dot(up)) / 24;
          });
        }
        return Promise.resolve();
      });
    }
    return mean;
  });
  want.forEach((value, j) => expect(scores_LEI[0]?.[0]?.[j]).toBeCloseTo(value, 5));
});

test('scores of a mean over hits are scores of a mean over samples, scaled by expert', async () => {
  const [all, hit] = [await scoresOf('meanAbsGrad'), await scoresOf('meanAbsGrad', true)];
  expect(all.samples).toBe(2);
  const [l, e] = [0, hit.hits_LE?.[0]?.findIndex((hits) => hits > 0) ?? -1];
  const factor = 2 / (hit.hits_LE?.[l]?.[e] ?? NaN);
  hit.scores_LEI[l]?.[e]?.forEach((score, j) =>
    expect(score).toBeCloseTo((all.scores_LEI[l]?.[e]?.[j] ?? NaN) * factor, 12),
  );
});

test('random scores depend on the seed alone, and take no data', async () => {
  const [a, b] = [await scoresOf('random'), await scoresOf('random')];
  expect(a).toEqual(b);
  expect([a.samples, a.hits_LE, takesGradients('random')]).toEqual([0, null, false]);
});

async function prune(name: string, layout: PrunedLayout, scope: 'expert' | 'layer') {
  const { scores_LEI } = await scoresOf('magnitude');
  const source = await openModelFolder(olmoe);
  try {
    const out = path.join(work, name);
    const model = await loadModel({ modelDir: olmoe, method: full, trains: false });
    model.close();
    const dropped = selectNeurons(scores_LEI, scope, 0.5);
    const from = { source, family: model.family, plan: model.plan, dropped };
    await writePruned(from, { out, layout, dtype: 'source', extraFiles: new Map([['note.json', '{}']]) });
    return out;
  } finally {
    source.close();
  }
}

test('a narrower checkpoint computes what a masked one does, and not what the whole one does', async () => {
  const [masked, narrow] = [
    await prune('masked', 'mask', 'expert'),
    await prune('narrow', 'structural', 'expert'),
  ];
  const config = (dir: string) => JSON.parse(readFileSync(path.join(dir, 'config.json'), 'utf8')) as object;
  expect(config(masked)).toEqual(config(olmoe));
  const { intermediate_size: width } = config(olmoe) as { intermediate_size: number };
  expect(config(narrow)).toMatchObject({ intermediate_size: width / 2 });
  expect(readFileSync(path.join(narrow, 'note.json'), 'utf8')).toBe('{}');
  expect(apart(await logitsOf(masked), await logitsOf(narrow))).toBeLessThan(1e-5);
  expect(apart(await logitsOf(masked), await logitsOf(olmoe))).toBeGreaterThan(1e-3);
});

test('what a layout cannot hold is refused', async () => {
  await expect(prune('uneven', 'structural', 'layer')).rejects.toMatchObject({ code: 'prune/not-uniform' });
  await expect(prune('ragged', 'ragged', 'layer')).rejects.toMatchObject({ code: 'prune/ragged-family' });
});

/** Upcycles a dense model. */
async function upcycled(name: string, modelDir: string, every: number, noise = 0) {
  const out = path.join(work, name);
  const size = { experts: 4, expertsPerToken: 2, every };
  const made = await upcycle({ modelDir, out, ...size, dtype: 'source', draws: seededDraws(1, noise) });
  return { out, ...made };
}

test('an upcycled model computes what the dense one does, until noise is added', async () => {
  const half = await upcycled('half', dense, 2);
  expect(half).toMatchObject({ family: 'qwen3_moe', moeLayers: [1] });
  const want = await logitsOf(dense);
  expect(apart(await logitsOf(half.out), want)).toBeLessThan(1e-4);
  const whole = await upcycled('whole', dense, 1);
  expect(apart(await logitsOf(whole.out), want)).toBeLessThan(1e-4);
  const noisy = await upcycled('noisy', dense, 1, 0.05);
  expect(apart(await logitsOf(noisy.out), want)).toBeGreaterThan(1e-3);
});

test('gate weights that are not divided by their sum scale what experts add', async () => {
  const { out } = await upcycled('unnormalised', dense, 1);
  const other = path.join(work, 'not-divided');
  cpSync(out, other, { recursive: true });
  const file = path.join(other, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...config, norm_topk_prob: false }));
  // All experts are the same, so that a token gets the sum of its gate weights times what the dense layer adds.
  const added = (dir: string) =>
    withModel(dir, async (model) => {
      const result: { sum: number; values: Float32Array }[] = [];
      await model.executor.observe(sample(1), ({ trace }, moeIndex) => {
        if (moeIndex > 0) return Promise.resolve();
        const sum = trace.weights.data.subarray(0, 4).reduce((total, weight) => total + weight, 0);
        const [, hidden = 0] = trace.h.shape;
        result.push({
          sum,
          values: trace.out.data.slice(0, hidden).map((v, i) => v - (trace.h.data[i] ?? NaN)),
        });
        return Promise.resolve();
      });
      return result[0];
    });
  const [divided, plain] = [await added(out), await added(other)];
  expect(divided?.sum).toBeCloseTo(1, 6);
  expect(plain?.sum).toBeLessThan(0.95);
  plain?.values.forEach((value, i) => expect(value).toBeCloseTo((divided?.values[i] ?? NaN) * plain.sum, 5));
});

test('ragged experts lie one behind the other', async () => {
  const { out: model } = await upcycled('to-prune', dense, 1, 0.05);
  const scores = await withModel(model, (loaded) => scoreNeurons(loaded, 'magnitude', []));
  const dropped = selectNeurons(scores.scores_LEI, 'global', 0.3);
  const out = path.join(work, 'ragged-qwen3');
  const source = await openModelFolder(model);
  const { family, plan } = await withModel(model, (loaded) => Promise.resolve(loaded));
  await writePruned(
    { source, family, plan, dropped },
    { out, layout: 'ragged', dtype: 'source', extraFiles: new Map() },
  );
  source.close();
  const ragged = await openModelFolder(out);
  const sizes = (ragged.config as { less_is_moe?: { expert_intermediate_sizes: Record<string, number[]> } })
    .less_is_moe?.expert_intermediate_sizes;
  expect(sizes).toEqual({
    0: dropped[0]?.map((neurons) => 48 - neurons.length),
    1: dropped[1]?.map((neurons) => 48 - neurons.length),
  });
  const width = sizes?.[1]?.reduce((sum, size) => sum + size, 0) ?? NaN;
  const tensor = (name: string) => ragged.tensors.get(`model.layers.1.mlp.experts.${name}`)?.shape;
  expect(tensor('gate_up_proj')).toEqual([2 * width * 32]);
  expect(tensor('down_proj')).toEqual([width * 32]);
  ragged.close();
});

test('what cannot be upcycled is refused', async () => {
  await expect(upcycled('sparse', olmoe, 1)).rejects.toMatchObject({ code: 'upcycle/unsupported-family' });
  await expect(upcycled('none', dense, 3)).rejects.toMatchObject({ code: 'upcycle/no-layer' });
  const llama = path.join(work, 'llama');
  writeDenseModel(llama, 'llama');
  await expect(upcycled('some', llama, 2)).rejects.toMatchObject({ code: 'upcycle/every-layer' });
  expect(
    apart(await logitsOf((await upcycled('mixtral', llama, 1)).out), await logitsOf(llama)),
  ).toBeLessThan(1e-4);
});

test.each([
  ['llama', 'biased', { attention_bias: true }],
  ['llama', 'biased-mlp', { mlp_bias: true }],
  ['qwen3', 'windowed', { use_sliding_window: true, sliding_window: 4, max_window_layers: 1 }],
] as const)(
  'a %s that its family of experts cannot follow is not upcycled: %s',
  async (family, name, change) => {
    const dir = path.join(work, name);
    writeDenseModel(dir, family, change);
    await expect(upcycled(`${name}-experts`, dir, 1)).rejects.toMatchObject({ code: 'upcycle/differs' });
  },
);

test('experts that are taken away leave what a checkpoint without them computes', async () => {
  const gone = [6, 7];
  const out = path.join(work, 'six-experts');
  const source = await openModelFolder(olmoe);
  const tensors = new Map(
    [...source.tensors.values()]
      .filter(({ name }) => name.endsWith('mlp.gate.weight'))
      .map(({ name, shape: [, hidden = 0] }) => {
        const rows = new Uint8Array(6 * hidden * 4);
        source.readInto(name, rows, 0);
        return [name, { shape: [6, hidden], data: new Float32Array(rows.buffer) }] as const;
      }),
  );
  const omit = new Set([...source.tensors.keys()].filter((name) => /experts\.[67]\./.test(name)));
  await exportHfFolder({ source, out, tensors, omit, dtype: 'source', config: { num_experts: 6 } });
  source.close();
  const batches = [sample(1), sample(5)];
  const lossOf = (model: LoadedModel) => new ThinnedModel(model, 'reroute').loss(batches);
  const want = await withModel(out, lossOf);
  await withModel(olmoe, async (model) => {
    const layers = moeLayerIndices(model.plan);
    const thinned = new ThinnedModel(model, 'reroute');
    const whole = await thinned.loss(batches);
    thinned.remove(layers.map(() => gone));
    expect(await thinned.loss(batches)).toBeCloseTo(want, 5);
    expect(Math.abs(whole - want)).toBeGreaterThan(1e-3);
    thinned.remove([]);
    expect(await thinned.loss(batches)).toBe(whole);

    const silent = new ThinnedModel(model, 'zero');
    silent.remove(layers.map(() => gone));
    const zeroed = await silent.loss(batches);
    expect(Math.abs(zeroed - want)).toBeGreaterThan(1e-4);
    for (const layer of layers)
      for (const expert of gone)
        (model.store.weight(parameterId('expertDown', layer, expert)).data as Float32Array).fill(0);
    silent.remove([]);
    expect(await silent.loss(batches)).toBeCloseTo(zeroed, 5);
  });
});

test('experts are ranked by how often, how strongly and with what effect they are chosen', async () => {
  const batches = [sample(1), sample(5)];
  await withModel(olmoe, async (model) => {
    const { activity, gateMass, outputNorm } = await rankExperts(model, batches);
    expect(activity[0]?.reduce((sum, count) => sum + count, 0)).toBe(2 * 24);
    gateMass[0]?.forEach((mass, e) => expect(mass).toBeLessThanOrEqual(activity[0]?.[e] ?? NaN));
    // The output of an expert whose down matrix is doubled is twice as long.
    const id = parameterId('expertDown', moeLayerIndices(model.plan)[0] ?? -1, 2);
    const down = model.store.weight(id).data as Float32Array;
    down.forEach((value, i) => (down[i] = 2 * value));
    const again = await rankExperts(model, batches);
    again.outputNorm[0]?.forEach((norm, e) =>
      expect(norm).toBeCloseTo((e === 2 ? 2 : 1) * (outputNorm[0]?.[e] ?? NaN), 5),
    );
  });
});

test('the best share of experts stays, the lower index first', () => {
  expect(removedExperts([[5, 1, 5, 3]], 0.5)).toEqual([[1, 3]]);
  expect(removedExperts([[1, 1, 1, 1]], 0.26)).toEqual([[2, 3]]);
  expect(removedExperts([Array.from({ length: 10 }, (_, e) => e)], 0.7)).toEqual([[0, 1, 2]]);
  expect(removedExperts([[1, 2]], 1)).toEqual([[]]);
});
