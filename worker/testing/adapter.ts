import { GraphBuilder } from '#worker/graph/index.ts';
import { createRuntime, type Program } from '#worker/runtime/index.ts';

/** Whether tests have a graphics adapter: the software one that is set up before them, or any that is named. */
export const hasAdapter = process.env['VK_ICD_FILENAMES'] !== undefined;

/**
 * The driver of an adapter that has float16, where the machine has what it takes; it is not the one that tests use unless they
 * say so.
 */
const float16Driver = process.env['CONDENSER_FLOAT16_DRIVER'];

/** Whether `useFloat16Adapter` has one to use. */
export const hasFloat16Adapter = float16Driver !== undefined;

/** Makes the adapter with float16 that of this process and those it starts; for test files that do so before anything else. */
export function useFloat16Adapter(): void {
  if (float16Driver !== undefined) process.env['VK_ICD_FILENAMES'] = float16Driver;
}

/** A session that nothing refers to is given up. */
const held: Program[] = [];

/**
 * Holds on to the adapter until the process ends, for tests that use it with one runtime after another. With its last session ONNX
 * Runtime gives up the adapter and every shader that was compiled for it, and compiling them is most of the time of a small case.
 */
export async function holdAdapter(): Promise<void> {
  const builder = new GraphBuilder('hold');
  builder.output('y', builder.input('x', 'float32', ['N']));
  held.push(await createRuntime({ provider: 'webgpu' }).compile(builder.build()));
}
