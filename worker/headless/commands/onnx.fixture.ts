/** Models in ONNX files, run as any program would. */
import path from 'node:path';
import { openModelFile } from '#worker/runtime/index.ts';

/** Logits `[tokens × vocabulary]` that the file in an exported folder computes of rows that fill a batch. */
export function logitsOfFile(folder: string, inputIds: Int32Array, rows = 1): Float32Array {
  const names = { inputs: ['input_ids', 'attention_mask'], outputs: ['logits'] };
  const program = openModelFile(path.join(folder, 'model.onnx'), names);
  try {
    const integers = (values: Int32Array) =>
      ({
        dtype: 'int64',
        shape: [rows, values.length / rows],
        data: BigInt64Array.from(values, BigInt),
      }) as const;
    const fed = { input_ids: integers(inputIds), attention_mask: integers(inputIds.map(() => 1)) };
    return Float32Array.from(program.run(fed)['logits']?.data ?? [], Number);
  } finally {
    program.release();
  }
}

/** NaN where lengths differ or something is no number. */
export function largestDifference(some: Float32Array, others: Float32Array): number {
  if (some.length !== others.length || some.length === 0) return NaN;
  return some.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (others[i] as number))), 0);
}
