import { expect, test } from 'vitest';
import { GraphBuilder, op } from '#worker/graph/index.ts';
import { uniform } from '#worker/random/index.ts';
import { createRuntime, hasExactInt8Products } from '#worker/runtime/index.ts';
import { runOnce } from '#worker/testing/index.ts';

const isExact = await hasExactInt8Products(createRuntime({ threads: 1 }));
const [rows, inner, columns] = [8, 32, 16];

/** Numbers between −1 and 1. */
const drawn = (name: string, count: number) => Array.from(uniform(7, name, count), (u) => 2 * u - 1);
const values = drawn('values', columns * inner).map((v) => Math.round(127 * v));
const scales = drawn('scales', columns).map((s) => 0.01 * (1.5 + s));

/** `x Wᵀ`, and by hand in float64 without rounding x. */
async function products(x: readonly number[]): Promise<{ got: number[]; want: number[] }> {
  const builder = new GraphBuilder('product');
  const weight = {
    values: builder.input('values', 'int8', [columns, inner]),
    scales: builder.input('scales', 'float32', [columns]),
  };
  const input = builder.input('x', 'float32', [rows, inner]);
  builder.output('y', op.int8Matmul(input, weight.values, weight.scales, { transB: true }));
  const { results } = await runOnce(builder.build(), { values: { x, values, scales } });
  const want = Array.from({ length: rows * columns }, (_unused, at) => {
    const [row, column] = [Math.floor(at / columns), at % columns];
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += (x[row * inner + k] ?? 0) * (values[column * inner + k] ?? 0);
    return sum * (scales[column] ?? 0);
  });
  return { got: Array.from(results['y']?.data ?? [], Number), want };
}

const norm = (numbers: readonly number[]) => Math.hypot(...numbers);
const errorOf = (got: readonly number[], want: readonly number[]) =>
  norm(got.map((y, at) => y - (want[at] ?? NaN))) / norm(want);

test.runIf(isExact)('each row of x is rounded by itself: a large one does not blur the others', async () => {
  const x = drawn('x', rows * inner).map((v, at) => v * (at < inner ? 1e4 : 1));
  const { got, want } = await products(x);
  const small = [got, want].map((all) => all.slice(columns));
  expect(errorOf(got, want)).toBeLessThan(0.02);
  expect(errorOf(small[0] ?? [], small[1] ?? [])).toBeLessThan(0.02);
  // Rounded it is, not widened.
  expect(errorOf(got, want)).toBeGreaterThan(1e-4);
});

test('a row of zeros gives zeros, and one with a number that is none gives none', async () => {
  const x = new Array<number>(rows * inner).fill(0);
  x[inner] = Infinity;
  x[2 * inner] = NaN;
  x[3 * inner + 5] = NaN;
  x[3 * inner] = 1;
  const { got } = await products(x);
  const row = (at: number) => got.slice(at * columns, (at + 1) * columns);
  expect(row(0)).toEqual(new Array(columns).fill(0));
  for (const at of [1, 2, 3])
    expect(row(at).some(Number.isFinite), `row ${at}: ${row(at).join()}`).toBe(false);
});
