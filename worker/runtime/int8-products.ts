/** Whether this processor multiplies int8 matrices right. */
import { GraphBuilder, op } from '#worker/graph/index.ts';
import type { Runtime } from './runtime.ts';
import { tensorView, zeroTensor } from './tensor-view.ts';

const SIZE = 64;
const ROWS = 4;

/**
 * Whether sums of products of 8-bit numbers are exact on the CPU. Without VNNI x86 processors add two of them in 16 bits, which
 * the largest overflow: there ONNX Runtime gives less than the sum, without a word.
 */
export async function hasExactInt8Products(runtime: Runtime): Promise<boolean> {
  const builder = new GraphBuilder('int8-products');
  const x = builder.input('x', 'float32', ['N', SIZE]);
  const values = builder.input('values', 'int8', [SIZE, SIZE]);
  const scales = builder.input('scales', 'float32', [SIZE]);
  builder.output('y', op.int8Matmul(x, values, scales, { transB: true }));
  const program = await runtime.compile(builder.build());
  const y = zeroTensor('float32', [ROWS, SIZE]);
  program.run(
    {
      x: tensorView('float32', [ROWS, SIZE], new Float32Array(ROWS * SIZE).fill(1)),
      values: tensorView('int8', [SIZE, SIZE], new Int8Array(SIZE * SIZE).fill(127)),
      scales: tensorView('float32', [SIZE], new Float32Array(SIZE).fill(1)),
    },
    { y },
  );
  program.release();
  return Array.from(y.data, Number).every((sum) => Math.abs(sum / (127 * SIZE) - 1) < 1e-5);
}
