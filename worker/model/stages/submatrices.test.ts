import { expect, test } from 'vitest';
import { GraphBuilder, gradient } from '#worker/graph/index.ts';
import { runOnce } from '#worker/testing/index.ts';
import { placeSubmatrices, placementOf, takeSubmatrices, type Place } from '../submatrices.ts';
import { linear, matrixInput } from './weight.ts';

const [out, width, size, tokens] = [6, 4, 2, 3];
const sequence = (count: number, at: (i: number) => number) => Array.from({ length: count }, (_, i) => at(i));
const weight = sequence(out * width, (i) => Math.sin(i));
const x = sequence(tokens * width, (i) => Math.cos(3 * i));
const dY = sequence(tokens * out, (i) => Math.sin(5 * i + 1));
/** Two in one row and two in one column. */
const places: readonly Place[] = [
  [0, 1],
  [2, 0],
  [2, 1],
];
const trained = sequence(places.length * size * size, (i) => Math.cos(7 * i));

const builder = new GraphBuilder('linear');
const graph = (() => {
  const input = builder.input('x', 'float32', ['N', width]);
  const plan = { kind: 'submatrices', size, places: new Map() } as const;
  builder.output(
    'y',
    linear(
      input,
      matrixInput(builder, 'query', () => 'float32', [out, width], plan),
    ),
  );
  return builder.build();
})();
const placement = placementOf(places, out / size, width / size);
const values = {
  x,
  query: weight,
  'query.submatrices': trained,
  'query.start': Array.from(takeSubmatrices(Float32Array.from(weight), size, places, width)),
  'query.rows': Array.from(placement.rows),
  'query.columns': Array.from(placement.columns),
  'query.at': Array.from(placement.at),
};
const shapes = {
  N: tokens,
  'query.places': places.length,
  'query.touchedRows': placement.touchedRows,
  'query.touchedColumns': placement.touchedColumns,
};

async function result(of: Parameters<typeof runOnce>[0], name: string, more: object = {}): Promise<number[]> {
  const { results } = await runOnce(of, { shapes, values: { ...values, ...more } });
  return Array.from(results[name]?.data ?? [], Number);
}

function expectClose(got: readonly number[], want: readonly number[]): void {
  expect(got).toHaveLength(want.length);
  want.forEach((value, i) => expect(got[i]).toBeCloseTo(value, 5));
}

/** `a bᵀ` for `a` [n, k] and `b` [m, k]. */
const product = (a: readonly number[], b: readonly number[], k: number) => {
  const m = b.length / k;
  return sequence((a.length / k) * m, (i) => {
    const [row, column] = [Math.floor(i / m), i % m];
    return sequence(k, (j) => (a[row * k + j] ?? 0) * (b[column * k + j] ?? 0)).reduce((s, v) => s + v, 0);
  });
};
const transposed = (matrix: readonly number[], columns: number) =>
  sequence(matrix.length, (i) => {
    const count = matrix.length / columns;
    return matrix[(i % count) * columns + Math.floor(i / count)] ?? 0;
  });

const replaced = Array.from(
  placeSubmatrices(Float32Array.from(weight), Float32Array.from(trained), size, places, width),
);

test('only touched rows and columns are computed', () => {
  expect([placement.touchedRows, placement.touchedColumns]).toEqual([2, 2]);
  expect([...placement.rows]).toEqual([1, 0, 0, 0, 0, 1]);
  expect([...placement.columns]).toEqual([1, 0, 0, 1]);
  expect([...placement.at]).toEqual([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
});

test('sub-matrices take the place of those of the weight', async () => {
  expectClose(await result(graph, 'y'), product(x, replaced, width));
  const untouched = replaced.filter((value, i) => Math.fround(weight[i] ?? 0) === value);
  expect(untouched).toHaveLength(out * width - places.length * size * size);
});

test('what the weight has in their places changes nothing', async () => {
  const same = { 'query.submatrices': values['query.start'] };
  expectClose(await result(graph, 'y', same), product(x, weight, width));
});

test('their gradient is that of the whole weight in their places', async () => {
  const backward = gradient(graph, { outputs: ['y'], wrt: ['x', 'query.submatrices'] });
  const given = { 'd.y': dY };
  const dW = product(transposed(dY, out), transposed(x, width), tokens);
  expectClose(
    await result(backward, 'grad.query.submatrices', given),
    Array.from(takeSubmatrices(Float32Array.from(dW), size, places, width)),
  );
  expectClose(await result(backward, 'grad.x', given), product(dY, transposed(replaced, width), out));
});
