/** How many optimizer steps a run has, before its data are tokenized. */
import type { RunSpec } from '#core/contract/run-spec.ts';
import { openSource } from '#worker/data/index.ts';

/** Characters of a token in common text, for estimates. */
const CHARACTERS_PER_TOKEN = 4;

/** Optimizer steps of a run, and tokens of each. */
export interface TrainingSteps {
  readonly steps: number;
  readonly tokensPerStep: number;
}

/**
 * Steps and tokens of a step, from the training files.
 * @throws UserError when a data file cannot be read.
 */
export async function trainingSteps(spec: RunSpec): Promise<TrainingSteps> {
  let rows = 0;
  let bytes = 0;
  for (const file of spec.data.train) {
    const source = await openSource(file.path);
    try {
      bytes += source.bytes;
      for await (const row of source.rows()) if (row.row > 0) rows++;
    } finally {
      await source.close();
    }
  }
  return estimateSteps(spec, rows, bytes);
}

/** Estimated from the rows and bytes of the training files; exact where `train.steps` is given and rows are not packed. */
export function estimateSteps(spec: RunSpec, rows: number, bytes: number): TrainingSteps {
  const { microBatch, gradientAccumulation, epochs } = spec.train;
  const tokensPerRow = Math.min(
    spec.data.maxLength,
    Math.max(1, bytes / Math.max(1, rows) / CHARACTERS_PER_TOKEN),
  );
  const packed = spec.data.packing === true ? Math.max(1, Math.floor(spec.data.maxLength / tokensPerRow)) : 1;
  const rowsPerStep = microBatch * gradientAccumulation * packed;
  const steps = spec.train.steps ?? Math.max(1, Math.ceil(((epochs ?? 1) * rows) / rowsPerStep));
  return { steps, tokensPerStep: rowsPerStep * tokensPerRow };
}
