import { expect, test } from 'vitest';
import { AttentionMask } from './attention/attention-mask.ts';
import { checkTokenIds, lossTargets, realTokenMask, type MicroBatch } from './batch.ts';

function batchOf(
  rows: number,
  fields: Partial<Record<'inputIds' | 'labels' | 'segments', number[]>>,
): MicroBatch {
  const length = (fields.inputIds ?? fields.labels ?? fields.segments ?? []).length;
  const {
    inputIds = new Array<number>(length).fill(1),
    labels = inputIds,
    segments = new Array<number>(length).fill(1),
  } = fields;
  return {
    batch: rows,
    sequence: length / rows,
    inputIds: Int32Array.from(inputIds),
    labels: Int32Array.from(labels),
    positions: new Int32Array(length),
    segments: Int32Array.from(segments),
  };
}

test('the label of a position is the next one, inside its row', () => {
  const { at, targets } = lossTargets(batchOf(2, { labels: [9, -100, 5, 6, 7, -100] }));
  expect([...at]).toEqual([1, 3]);
  expect([...targets]).toEqual([5, 7]);
});

/** Which keys each query sees, as rows of ones and zeros. */
function visible(segments: number[]): string[] {
  const batch = batchOf(1, { segments });
  const mask = new Float32Array(segments.length ** 2);
  new AttentionMask(batch).writeWhole(mask);
  return segments.map((_, query) =>
    Array.from(mask.subarray(query * segments.length, (query + 1) * segments.length), (value) => {
      expect([0, Math.fround(-1e9)]).toContain(value);
      return value === 0 ? '1' : '.';
    }).join(''),
  );
}

test('attention is causal and stays inside a segment', () => {
  expect(visible([1, 1, 1])).toEqual(['1..', '11.', '111']);
  expect(visible([1, 1, 2, 2])).toEqual(['1...', '11..', '..1.', '..11']);
});

test('nobody sees padding; padding sees the real tokens before it', () => {
  expect(visible([1, 1, 0])).toEqual(['1..', '11.', '11.']);
  expect(visible([0, 0, 1, 1])).toEqual(['....', '....', '..1.', '..11']);
});

test('real tokens are those of a segment', () => {
  expect([...realTokenMask(batchOf(1, { segments: [0, 1, 2, 0] }))]).toEqual([0, 1, 1, 0]);
});

test('ids and labels outside the vocabulary are refused by number', () => {
  expect(() => checkTokenIds(batchOf(1, { inputIds: [0, 9] }), 10)).not.toThrow();
  expect(() => checkTokenIds(batchOf(1, { inputIds: [0, 10] }), 10)).toThrow('token id 10 is outside');
  expect(() => checkTokenIds(batchOf(1, { inputIds: [0, 1], labels: [-100, 11] }), 10)).toThrow('label 11');
  expect(() => checkTokenIds(batchOf(1, { inputIds: [-1, 1] }), 10)).toThrow('token id -1');
});
