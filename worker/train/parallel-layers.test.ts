/** Layers whose halves run side by side, dense ones and shared experts among them, against the equations in float64. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { lossTargets, unpaddedBatch } from '#worker/engine/index.ts';
import { writeRandomModel } from '#worker/testing/index.ts';
import { loadModel, type LoadedModel } from './load-model.ts';

const [HIDDEN, HEADS, HEAD, WINDOW, EXPERTS] = [16, 2, 8, 3, 4];
const config = {
  model_type: 'cohere2_moe',
  architectures: ['Cohere2MoeForCausalLM'],
  vocab_size: 40,
  hidden_size: HIDDEN,
  intermediate_size: 6,
  prefix_dense_intermediate_size: 10,
  first_k_dense_replace: 1,
  num_hidden_layers: 3,
  num_attention_heads: HEADS,
  num_key_value_heads: 1,
  head_dim: HEAD,
  num_experts: EXPERTS,
  num_experts_per_tok: 2,
  num_shared_experts: 2,
  expert_selection_fn: 'sigmoid',
  sliding_window: WINDOW,
  sliding_window_pattern: 2,
  layer_norm_eps: 1e-5,
  logit_scale: 0.5,
  eos_token_id: 1,
};
const ids = Int32Array.of(5, 17, 3, 30, 5, 22, 9);

let folder = '';
let model: LoadedModel;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'condenser-parallel-'));
  writeRandomModel(join(folder, 'model'), config);
  model = await loadModel({
    modelDir: join(folder, 'model'),
    method: { name: 'full', options: {} },
    threads: 1,
  });
});
afterAll(() => {
  model.close();
  rmSync(folder, { recursive: true });
});

type Weights = ReadonlyMap<string, Float64Array>;
type Row = readonly number[];

const add = (...rows: readonly Row[]): Row =>
  (rows[0] ?? []).map((_, i) => rows.reduce((sum, row) => sum + (row[i] ?? 0), 0));
const scaled = (row: Row, by: number): Row => row.map((x) => x * by);
const dot = (a: Row, b: Row): number => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Logits of every position, from the equations of the published class. */
function reference(weights: Weights): Row[] {
  const of = (id: string) => [...(weights.get(id) ?? [])];
  const linear = (x: Row, id: string): Row => {
    const w = of(id);
    return Array.from({ length: w.length / x.length }, (_, row) =>
      dot(x, w.slice(row * x.length, (row + 1) * x.length)),
    );
  };
  const norm = (x: Row, id: string): Row => {
    const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
    const weight = of(id);
    return x.map((value, i) => ((value - mean) / Math.sqrt(variance + 1e-5)) * (weight[i] ?? 0));
  };
  const mlp = (x: Row, [gate, up, down]: readonly [string, string, string]): Row => {
    const u = linear(x, up);
    return linear(
      linear(x, gate).map((g, i) => g * sigmoid(g) * (u[i] ?? 0)),
      down,
    );
  };
  const rotated = (x: Row, position: number): Row =>
    x.map((value, i) => {
      const angle = position * 10000 ** ((-2 * Math.floor(i / 2)) / HEAD);
      const other = (i % 2 === 0 ? -1 : 1) * (x[i ^ 1] ?? 0);
      return value * Math.cos(angle) + other * Math.sin(angle);
    });
  const attention = (x_N: readonly Row[], layer: string, hasPositions: boolean, window: number): Row[] => {
    const turned = (row: Row, at: number) => (hasPositions ? rotated(row, at) : row);
    const keys = x_N.map((x, at) => turned(linear(x, `${layer}.key`), at));
    const values = x_N.map((x) => linear(x, `${layer}.value`));
    return x_N.map((x, at) => {
      const query = linear(x, `${layer}.query`);
      const contexts = Array.from({ length: HEADS }, (_, head) => {
        const own = turned(query.slice(head * HEAD, (head + 1) * HEAD), at);
        const seen = keys.map((key, j) =>
          j <= at && at - j < window ? Math.exp(dot(own, key) / Math.sqrt(HEAD)) : 0,
        );
        const sum = seen.reduce((total, score) => total + score, 0);
        return add(...values.map((value, j) => scaled(value, (seen[j] ?? 0) / sum)));
      });
      return linear(contexts.flat(), `${layer}.output`);
    });
  };
  const experts = (x: Row, layer: string): Row => {
    const logits = linear(x, `${layer}.router`);
    const chosen = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0)).slice(0, 2);
    const gates = chosen.map((expert) => sigmoid(logits[expert] ?? 0));
    const routed = chosen.map((expert, i) => {
      const own = `${layer}.experts.${expert}`;
      const y = mlp(x, [`${own}.expertGate`, `${own}.expertUp`, `${own}.expertDown`]);
      return scaled(y, (gates[i] ?? 0) / gates.reduce((sum, gate) => sum + gate, 0));
    });
    const shared = mlp(x, [`${layer}.sharedGate`, `${layer}.sharedUp`, `${layer}.sharedDown`]);
    return scaled(add(...routed, shared), 0.5);
  };

  const embedding = of('embedding');
  let h_N: Row[] = [...ids].map((id) => embedding.slice(id * HIDDEN, (id + 1) * HIDDEN));
  // Dense, sees everything, with positions; experts in a window; experts that see everything, without positions.
  for (const [index, [hasPositions, window]] of (
    [
      [true, 99],
      [true, WINDOW],
      [false, 99],
    ] as const
  ).entries()) {
    const layer = `layers.${index}`;
    const x_N = h_N.map((h) => norm(h, `${layer}.inputNorm`));
    const mixed = attention(x_N, layer, hasPositions, window);
    const other = x_N.map((x) =>
      index === 0
        ? mlp(x, [`${layer}.denseGate`, `${layer}.denseUp`, `${layer}.denseDown`])
        : experts(x, layer),
    );
    h_N = h_N.map((h, at) => add(h, mixed[at] ?? [], other[at] ?? []));
  }
  return h_N.map((h) => scaled(linear(norm(h, 'finalNorm'), 'embedding'), config.logit_scale));
}

/** Mean cross-entropy of the next tokens. */
function lossOf(logits_N: readonly Row[]): number {
  const losses = logits_N.slice(0, -1).map((logits, at) => {
    const sum = logits.reduce((total, value) => total + Math.exp(value), 0);
    return Math.log(sum) - (logits[ids[at + 1] ?? 0] ?? 0);
  });
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}

const weightsOf = (): Map<string, Float64Array> =>
  new Map(model.store.parameters.map(({ id }) => [id, Float64Array.from(model.store.values(id))]));

test('logits are those of the equations', async () => {
  const { logits } = await model.executor.logits(unpaddedBatch(ids), Int32Array.from(ids.keys()));
  const expected = reference(weightsOf()).flat();
  expect(logits).toHaveLength(expected.length);
  const error = Math.max(...expected.map((value, i) => Math.abs(value - (logits[i] ?? NaN))));
  expect(error).toBeLessThan(1e-5);
  expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(0.1);
});

test('gradients are the slopes of the loss', async () => {
  const batch = unpaddedBatch(ids, 1, ids);
  await model.executor.train(batch, lossTargets(batch).at.length, 1);
  model.store.completeGradients();
  const weights = weightsOf();
  const step = 1e-5;
  for (const id of [
    'embedding',
    'layers.0.inputNorm',
    'layers.0.value',
    'layers.0.denseGate',
    'layers.0.denseDown',
    'layers.1.inputNorm',
    'layers.1.router',
    'layers.1.sharedUp',
    'layers.2.sharedDown',
    'layers.2.key',
  ]) {
    const values = weights.get(id) ?? new Float64Array();
    // The row of a token that is there, or the first values.
    const from = id === 'embedding' ? 17 * HIDDEN : 0;
    for (const at of [from, from + 5, from + 11]) {
      const start = values[at] ?? NaN;
      const [high, low] = [step, -step].map((change) => {
        values[at] = start + change;
        return lossOf(reference(weights));
      });
      values[at] = start;
      const slope = ((high ?? NaN) - (low ?? NaN)) / (2 * step);
      expect(model.store.gradient(id).data[at], `${id} ${at}`).toBeCloseTo(slope, 5);
    }
  }
});
