/**
 * Tries the graphics adapter of this machine and says whether it computes what it should; see `findAdapter`. Given a model folder,
 * it also trains a step of that.
 */
import { UserError } from '#core/contract/errors.ts';
import { PROBE_PASSED, tryDevice, type ProbeResult } from '#worker/runtime/index.ts';

async function probe(modelDir: string | undefined): Promise<ProbeResult> {
  await tryDevice();
  if (modelDir === undefined) return {};
  const { tryTraining } = await import('#worker/train/index.ts');
  return { placement: await tryTraining(modelDir) };
}

try {
  console.log(`${PROBE_PASSED} ${JSON.stringify(await probe(process.argv[2]))}`);
} catch (error) {
  console.log(
    error instanceof UserError ? `${error.message}.` : `The graphics adapter failed: ${String(error)}`,
  );
  process.exitCode = 1;
}
