import { expect, test } from 'vitest';
import { dropoutMask } from './dropout.ts';

const WIDTH = 64;

function maskOf(rows: readonly number[], given: { seed?: number; name?: string; rate?: number } = {}) {
  const out = new Float32Array(rows.length * WIDTH).fill(NaN);
  dropoutMask({ seed: 1, name: 'a', rate: 0.25, ...given }, rows, WIDTH, out);
  return out;
}
const rowOf = (mask: Float32Array, row: number) => [...mask.subarray(row * WIDTH, (row + 1) * WIDTH)];
const many = Array.from({ length: 500 }, (_, i) => i);
/** Share of entries that are left out, and of pairs of neighbours that both are. */
function shares(mask: Float32Array, apart: number) {
  const out = [...mask].map((value) => Number(value === 0));
  const both = out.slice(apart).filter((value, i) => value === 1 && out[i] === 1).length;
  return [out.reduce((a, b) => a + b, 0) / out.length, both / (out.length - apart)];
}

test('a row is the same wherever it stands and whatever is beside it', () => {
  const [sorted, other] = [maskOf([3, 5, 9]), maskOf([9, 3])];
  expect(rowOf(other, 0)).toEqual(rowOf(sorted, 2));
  expect(rowOf(other, 1)).toEqual(rowOf(sorted, 0));
  expect(rowOf(sorted, 0)).not.toEqual(rowOf(sorted, 1));
});

test('it follows the seed and the name', () => {
  expect(maskOf([1])).toEqual(maskOf([1]));
  expect(maskOf([1], { seed: 2 })).not.toEqual(maskOf([1]));
  expect(maskOf([1], { name: 'b' })).not.toEqual(maskOf([1]));
});

// 32,000 draws: a standard deviation of the share is 0.0024.
test.each([0.05, 0.25, 0.5])('rate %d: as many are left out, the others make up for it', (rate) => {
  const mask = maskOf(many, { rate });
  expect(new Set(mask)).toEqual(new Set([0, Math.fround(1 / (1 - rate))]));
  for (const apart of [1, WIDTH]) {
    const [one = NaN, both = NaN] = shares(mask, apart);
    expect(Math.abs(one - rate)).toBeLessThan(0.01);
    // Neighbours in a row and in a column are left out independently.
    expect(Math.abs(both - rate ** 2)).toBeLessThan(0.01);
  }
});
