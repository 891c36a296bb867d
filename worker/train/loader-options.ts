import type { RunSpec } from '#core/contract/run-spec.ts';
import type { LoaderOptions } from '#worker/data/index.ts';

/** How the examples of a run become micro-batches. */
export function loaderOptions(spec: RunSpec, padId: number, shuffle: boolean): LoaderOptions {
  return {
    microBatch: spec.train.microBatch,
    maxLength: spec.data.maxLength,
    packing: spec.data.packing,
    seed: spec.train.seed,
    padId,
    shuffle,
  };
}
