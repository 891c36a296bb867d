/** How fast this machine multiplies matrices: what the speed of a step is compared with. */
import { GraphBuilder, op } from '#worker/graph/index.ts';
import { DeviceTensor, zeroTensor, type Runtime } from '#worker/runtime/index.ts';

/** Side of the product. */
export const GEMM_SIZE = 1024;
/** How often it is computed for one measurement. */
const GEMM_REPEATS = 6;

/** A square product as large as the caches allow to be fast; returns what it reaches, in GFLOP/s. */
export async function createGemm(runtime: Runtime): Promise<() => number> {
  const builder = new GraphBuilder('gemm');
  const shape = [GEMM_SIZE, GEMM_SIZE];
  const [x, w] = [builder.input('x', 'float32', shape), builder.input('w', 'float32', shape)];
  builder.output('y', op.matmul(x, w, { transB: true }));
  const program = await runtime.compile(builder.build(), { recorded: false });
  const feeds = { x: zeroTensor('float32', shape), w: zeroTensor('float32', shape) };
  // Zeros and denormals would be another speed on some processors.
  for (const { data } of [feeds.x, feeds.w]) for (let i = 0; i < data.length; i++) data[i] = 1;
  const y = zeroTensor('float32', shape);
  const { device } = runtime;
  // On a GPU the product is measured, not the way there and back.
  const [given, target] =
    device === null
      ? [feeds, y]
      : [{ x: device.upload(feeds.x), w: device.upload(feeds.w) }, device.upload(y)];
  const run = (): void => {
    program.run(given, { y: target });
  };
  const wait = (): void => {
    if (target instanceof DeviceTensor) device?.read(target, y.data as Float32Array);
  };
  return () => {
    run();
    wait();
    const started = performance.now();
    for (let i = 0; i < GEMM_REPEATS; i++) run();
    wait();
    return (GEMM_REPEATS * 2 * GEMM_SIZE ** 3) / (performance.now() - started) / 1e6;
  };
}
