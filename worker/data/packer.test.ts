import { expect, test } from 'vitest';
import { philox } from '#worker/random/index.ts';
import { epochOrder } from './order.ts';
import { bucketByLength, packRows } from './packer.ts';
import type { RowPlan } from './packer.ts';

const rowsOf = ({ starts, examples }: RowPlan) =>
  Array.from({ length: starts.length - 1 }, (_, row) => [...examples.subarray(starts[row], starts[row + 1])]);
const sorted = (values: Iterable<number>) => [...values].sort((a, b) => a - b);

test('first fit: an example goes into the first row with room', () => {
  const lengths = Uint32Array.of(6, 5, 4, 3, 2);
  expect(rowsOf(packRows(Uint32Array.of(0, 1, 2, 3, 4), lengths, 10))).toEqual([
    [0, 2],
    [1, 3, 4],
  ]);
});

test('every example is packed once, no row is too long, and rows are well filled', () => {
  const lengths = Uint32Array.from(
    { length: 5000 },
    (_, index) => 1 + ((philox(1, index, 0)[0] >>> 8) % 300),
  );
  const rows = rowsOf(packRows(epochOrder(5000, 1, 0), lengths, 512));
  expect(sorted(rows.flat())).toEqual(sorted(lengths.keys()));
  const fill = rows.map((row) => row.reduce((sum, example) => sum + (lengths[example] ?? 0), 0));
  expect(Math.max(...fill)).toBeLessThanOrEqual(512);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  expect(total / (512 * rows.length)).toBeGreaterThan(0.97);
});

test('bucketing keeps every example and brings similar lengths together', () => {
  const lengths = Uint32Array.from({ length: 1000 }, (_, index) => 1 + (philox(2, index, 0)[0] % 400));
  const order = epochOrder(1000, 1, 0);
  const bucketed = bucketByLength(order, lengths, { microBatch: 4, seed: 1, epoch: 0 });
  expect(sorted(bucketed)).toEqual(sorted(order));
  const padding = (examples: Uint32Array) => {
    let sum = 0;
    for (let start = 0; start < examples.length; start += 4) {
      const group = [...examples.subarray(start, start + 4)].map((example) => lengths[example] ?? 0);
      sum += group.length * Math.max(...group);
    }
    return sum;
  };
  expect(padding(bucketed)).toBeLessThan(0.7 * padding(order));
});
