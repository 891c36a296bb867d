import { describe, expect, test } from 'vitest';
import { GraphBuilder, gradient, type Graph } from '#worker/graph/index.ts';
import { runOnce } from '#worker/testing/index.ts';
import { adapterOf, mergeAdapter, rowNorms, type LowRankPlan } from '../low-rank.ts';
import { linear, matrixInput } from './weight.ts';

/** `y = linear(x, W)` for a W of 2 × 2 with the adapter of `plan`. */
function graphOf(plan: LowRankPlan | null, tokens = 1): Graph {
  const builder = new GraphBuilder('linear');
  const x = builder.input('x', 'float32', [tokens, 2]);
  builder.output(
    'y',
    linear(
      x,
      matrixInput(builder, 'query', () => 'float32', [2, 2], plan, tokens),
    ),
  );
  return builder.build();
}

const planOf = (magnitude: boolean): LowRankPlan => ({
  kind: 'low-rank',
  roles: new Map([['query', { rank: 1, alpha: 2 }]]),
  rankStabilised: false,
  magnitude,
  dropout: 0,
});

// W = [[1, 2], [3, 4]], A = [[1, 1]], B = [[½], [−½]], s = 2, so that W + s B A = [[2, 3], [2, 3]].
const weight = [1, 2, 3, 4];
const loraA = [1, 1];
const loraB = [0.5, -0.5];
const magnitude = [Math.sqrt(5), 5];
const values = { query: weight, 'query.loraA': loraA, 'query.loraB': loraB, 'query.magnitude': magnitude };

async function output(graph: Graph, more: Record<string, readonly number[]>, name = 'y'): Promise<number[]> {
  const { results } = await runOnce(graph, { values: { ...values, ...more } });
  return Array.from(results[name]?.data ?? [], Number);
}

const expectClose = (got: ArrayLike<number>, want: readonly number[]) => {
  expect(got).toHaveLength(want.length);
  want.forEach((value, i) => expect(got[i]).toBeCloseTo(value, 5));
};

describe('worked numbers', () => {
  test('LoRA', async () => {
    expectClose(await output(graphOf(planOf(false)), { x: [1, 1] }), [5, 5]);
  });

  test('DoRA starts from row norms √5 and 5', async () => {
    expectClose(await output(graphOf(planOf(true)), { x: [1, 1] }), [3.100868, 6.933752]);
  });

  test('merged weights', () => {
    const matrices = { loraA: Float32Array.from(loraA), loraB: Float32Array.from(loraB) };
    const adapter = { rank: 1, scale: 2, ...matrices };
    const merged = (m: Float32Array | null) =>
      mergeAdapter(Float32Array.from(weight), { ...adapter, magnitude: m });
    expect([...merged(null)]).toEqual([2, 3, 2, 3]);
    expectClose(rowNorms(Float32Array.from(weight), 2), [2.236068, 5]);
    expectClose(rowNorms(merged(null), 2), [3.605551, 3.605551]);
    expectClose(merged(Float32Array.from(magnitude)), [1.240347, 1.860521, 2.773501, 4.160251]);
  });

  test('a rank-stabilised scale divides alpha by the root of the rank', () => {
    const parameter = { id: 'query', role: 'query', layer: null, expert: null, shape: [2, 2] } as const;
    const roles = new Map([['query', { rank: 4, alpha: 2 }]]);
    const merged = (rankStabilised: boolean) => {
      const plan = { ...planOf(false), roles, rankStabilised };
      return [
        ...mergeAdapter(
          new Float32Array(4),
          adapterOf(parameter, plan, () => new Float32Array(8).fill(1)),
        ),
      ];
    };
    expect(merged(false)).toEqual([2, 2, 2, 2]);
    expect(merged(true)).toEqual([4, 4, 4, 4]);
  });
});

test('the product and the gradient of int8 rows are those of the weights they stand for', async () => {
  const builder = new GraphBuilder('rounded');
  const x = builder.input('x', 'float32', ['N', 3]);
  builder.output(
    'y',
    linear(
      x,
      matrixInput(builder, 'expertUp', () => 'int8', [2, 3], null, 'N'),
    ),
  );
  const graph = builder.build();
  const [rows, scales] = [[127, -3, 10, -127, 64, 1], [0.03, 0.5]]; // prettier-ignore
  const given = {
    x: [0.3, -1.7, 2, 1, 1, -4],
    expertUp: rows,
    'expertUp.scales': scales,
    'd.y': [1, -2, 0.5, 3],
  };
  // W = [[3.81, −0.09, 0.3], [−63.5, 32, 0.5]].
  const options = { values: given, shapes: { N: 2 } };
  const wanted = [1.896, -72.45, 2.52, -33.5];
  const { results } = await runOnce(graph, options);
  expect(results['y']?.data).toHaveLength(4);
  wanted.forEach((value, i) => expect(results['y']?.data[i]).toBeCloseTo(value, 4));
  const derived = gradient(graph, { outputs: ['y'], wrt: ['x'] });
  const dX = (await runOnce(derived, options)).results['grad.x']?.data ?? [];
  [130.81, -64.09, -0.7, -188.595, 95.955, 1.65].forEach((value, i) => expect(dX[i]).toBeCloseTo(value, 3));
});

test('an adapter whose B is zero changes nothing', async () => {
  const x = [0.3, -1.7];
  const base = await output(graphOf(null), { x });
  const zero = { x, 'query.loraB': [0, 0] };
  expect(await output(graphOf(planOf(false)), zero)).toEqual(base);
  expectClose(await output(graphOf(planOf(true)), zero), base);
});

test('dropout: the weight reads everything, the adapter what is left', async () => {
  // x = [1, 1], of which the second is left out and the first doubled: x̃ = [2, 0].
  const given = { x: [1, 1], 'query.dropout': [2, 0] };
  const dropped = (dora: boolean) => graphOf({ ...planOf(dora), dropout: 0.5 });
  // W x = [3, 7], s B A x̃ = [2, −2].
  expectClose(await output(dropped(false), given), [5, 5]);
  expectClose(await output(dropped(false), { ...given, 'query.dropout': [0, 2] }), [5, 5]);
  expectClose(await output(dropped(false), { ...given, 'query.dropout': [0, 0] }), [3, 7]);
  // DoRA as PEFT: W x + (m / n − 1) W x̃ + (m / n) s B A x̃, W x̃ = [2, 6].
  const [a = NaN, b = NaN] = magnitude.map((m) => m / Math.sqrt(13));
  expectClose(await output(dropped(true), given), [3 + (a - 1) * 2 + a * 2, 7 + (b - 1) * 6 - b * 2]);
  // Nothing left out: the same as without dropout.
  expectClose(
    await output(dropped(true), { ...given, 'query.dropout': [1, 1] }),
    await output(graphOf(planOf(true)), given),
  );
});

test('DoRA gives A and B the gradient of LoRA for outputs scaled by m / n', async () => {
  const x = [0.3, -1.7, 2, 0.4];
  const dY = [1, -2, 0.5, 3];
  const norm = Math.sqrt(13);
  const scaled = dY.map((d, i) => (d * (magnitude[i % 2] ?? 0)) / norm);
  const backward = (dora: boolean) =>
    gradient(graphOf(planOf(dora), 2), { outputs: ['y'], wrt: ['query.loraA', 'query.loraB'] });
  for (const part of ['loraA', 'loraB']) {
    const got = await output(backward(true), { x, 'd.y': dY }, `grad.query.${part}`);
    expectClose(got, await output(backward(false), { x, 'd.y': scaled }, `grad.query.${part}`));
  }
});

test('the gradient of a frozen weight is not computed', () => {
  const backward = gradient(graphOf(planOf(false), 5), {
    outputs: ['y'],
    wrt: ['x', 'query.loraA', 'query.loraB'],
  });
  const products = backward.nodes.filter((node) => node.op.name === 'matmul');
  // dx = dy W + (dy B) A; dB = dyᵀ (x Aᵀ), whose x Aᵀ is computed again; dA = (dy B)ᵀ x.
  expect(products).toHaveLength(6);
  expect(products.some((node) => node.outputs[0]?.shape.join() === '2,2')).toBe(false);
});
