/**
 * Tries the graphics adapter of this machine and says whether it computes what it should; see `findAdapter`. Given a model folder,
 * it also trains a step of that.
 */
import { UserError } from '#core/contract/errors.ts';
import { passedLine, tryDevice, type ProbeResult } from '#worker/runtime/index.ts';

async function probe(modelDir: string | undefined): Promise<ProbeResult> {
  const { hasFloat16 } = await tryDevice();
  if (modelDir === undefined) return { hasFloat16 };
  const { tryTraining } = await import('#worker/train/index.ts');
  return { hasFloat16, placement: await tryTraining(modelDir) };
}

try {
  console.log(passedLine(await probe(process.argv[2])));
} catch (error) {
  console.log(
    error instanceof UserError ? `${error.message}.` : `The graphics adapter failed: ${String(error)}`,
  );
  process.exitCode = 1;
}
