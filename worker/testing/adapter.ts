import { GraphBuilder } from '#worker/graph/index.ts';
import { createRuntime, type Program } from '#worker/runtime/index.ts';

/** Whether tests have a graphics adapter: the software one that is set up before them, or any that is named. */
export const hasAdapter = process.env['VK_ICD_FILENAMES'] !== undefined;

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
