/** What went wrong in ONNX Runtime, as far as a user can do something about it. */
import { InvariantError, UserError } from '#core/contract/errors.ts';

/**
 * Names the error of a run. A full adapter is told by what follows from it: a buffer that could not be made is invalid wherever it
 * is used later.
 * @param what the program that ran.
 * @param device whether it was done on a GPU.
 */
export function explainError(what: string, device: boolean, error: unknown): Error {
  const message = error instanceof Error ? error.message : String(error);
  if (device && /device (is |was )?lost|context lost|failed to download data from buffer/i.test(message)) {
    return new UserError(
      'runtime/device-lost',
      `The GPU was lost while it ran '${what}': ${message}`,
      'Resume the run from its last checkpoint; with engine.provider "cpu" it goes on without the GPU.',
      { cause: error },
    );
  }
  if (device && /exceeds the max buffer size|\[Invalid Buffer|failed to create.*buffer/i.test(message)) {
    return new UserError(
      'runtime/out-of-memory',
      `The GPU has not enough memory for '${what}': ${message}`,
      'Resume the run with engine.deviceMemoryMB below what the GPU has, or with engine.provider "cpu".',
      { cause: error },
    );
  }
  if (/failed to allocate memory|bad_alloc|bad allocation|out of (device )?memory/i.test(message)) {
    return new UserError(
      'runtime/out-of-memory',
      `Not enough memory to run '${what}': ${message}`,
      'Use shorter sequences or a smaller micro-batch, or close other programs.',
      { cause: error },
    );
  }
  return new InvariantError(`${what}: ${message}`, { cause: error });
}
