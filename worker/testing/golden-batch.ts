/** Batches of golden cases in the form the engine reads. */
import type { MicroBatch } from '#worker/engine/index.ts';
import type { GoldenTensors } from './golden-case.ts';

/**
 * The batch under `prefix`. Without stored positions they count 0, 1, 2 … from the left, pads included; without stored
 * segments a row is one segment of its real tokens.
 */
export function goldenBatch(tensors: GoldenTensors, prefix = ''): MicroBatch {
  const { shape, values } = tensors.get(`${prefix}input_ids`);
  const [rows = 0, length = 0] = shape;
  const optional = (name: string) =>
    tensors.has(`${prefix}${name}`) ? tensors.integers(`${prefix}${name}`) : null;
  const inputIds = Int32Array.from(values);
  return {
    batch: rows,
    sequence: length,
    inputIds,
    labels: optional('labels') ?? new Int32Array(inputIds.length).fill(-100),
    positions: optional('position_ids') ?? inputIds.map((_, i) => i % length),
    segments:
      optional('segment_ids') ?? optional('attention_mask') ?? new Int32Array(inputIds.length).fill(1),
  };
}
