/** Compiles the kernels: `node worker/kernels/build.ts` writes `kernels.wasm`, which is committed. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import loadWabt from 'wabt';
import { kernelSource } from './kernel-source.ts';
import { WebAssembly } from './web-assembly.ts';

/** The bytes of `kernels.wasm` as the source gives them. */
export async function compileKernels(): Promise<Uint8Array> {
  const wabt = await loadWabt();
  const features = { memory64: true, threads: true, simd: true };
  const module = wabt.parseWat('kernels.wat', kernelSource(), features);
  try {
    const { buffer } = module.toBinary({});
    new WebAssembly.Module(buffer); // throws where the code does not validate
    return buffer;
  } finally {
    module.destroy();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('kernels.wasm', import.meta.url), await compileKernels());
}
