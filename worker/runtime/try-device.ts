/** A small computation on the GPU with a known result. */
import { UserError } from '#core/contract/errors.ts';
import { GraphBuilder, op } from '#worker/graph/index.ts';
import { loadBinding } from './binding.ts';
import { summarizePlacement } from './placement.ts';
import { createRuntime, type Runtime } from './runtime.ts';
import { tensorView, zeroTensor } from './tensor-view.ts';

const SIZE = 64;

/**
 * Multiplies two matrices on the GPU and checks the product. ONNX Runtime logs what devices it finds.
 * @returns whether programs can read float16 there.
 * @throws UserError `runtime/no-adapter`, `runtime/wrong-result`, `runtime/left-to-cpu`.
 */
export async function tryDevice(): Promise<{ readonly hasFloat16: boolean }> {
  loadBinding('info');
  const runtime = createRuntime({ provider: 'webgpu', recordPlacement: true });
  try {
    await checkProduct(runtime);
    const { onAdapter, leftToCpu } = summarizePlacement(runtime.endPlacement());
    if (onAdapter > 0 && leftToCpu.length === 0) return { hasFloat16: runtime.device?.hasFloat16 ?? false };
  } finally {
    runtime.release();
  }
  throw new UserError(
    'runtime/left-to-cpu',
    'A graphics adapter was found, but ONNX Runtime left the product to the CPU',
    'Update its driver, or use engine.provider "cpu".',
  );
}

async function checkProduct(runtime: Runtime): Promise<void> {
  const builder = new GraphBuilder('product');
  const x = builder.input('x', 'float32', ['N', SIZE]);
  builder.output('y', op.matmul(x, builder.input('w', 'float32', [SIZE, SIZE])));
  const program = await runtime.compile(builder.build());
  const values = Float32Array.from({ length: SIZE * SIZE }, (_unused, at) => (at % 7) - 3);
  const matrix = tensorView('float32', [SIZE, SIZE], values);
  const y = zeroTensor('float32', [SIZE, SIZE]);
  program.run({ x: matrix, w: matrix }, { y });
  // Small whole numbers: the product is exact, whatever the order of additions.
  for (let row = 0; row < SIZE; row++) {
    for (let column = 0; column < SIZE; column++) {
      let sum = 0;
      for (let k = 0; k < SIZE; k++) sum += (values[row * SIZE + k] ?? 0) * (values[k * SIZE + column] ?? 0);
      if (y.data[row * SIZE + column] !== sum) {
        throw new UserError(
          'runtime/wrong-result',
          'The graphics adapter computes wrong results',
          'Update its driver, or use engine.provider "cpu".',
        );
      }
    }
  }
}
