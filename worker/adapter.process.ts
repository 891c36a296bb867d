/** Tries the graphics adapter of this machine and says whether it computes what it should; see `findAdapter`. */
import { UserError } from '#core/contract/errors.ts';
import { PROBE_PASSED, tryDevice } from '#worker/runtime/index.ts';

try {
  await tryDevice();
  console.log(PROBE_PASSED);
} catch (error) {
  console.log(
    error instanceof UserError ? `${error.message}.` : `The graphics adapter failed: ${String(error)}`,
  );
  process.exitCode = 1;
}
