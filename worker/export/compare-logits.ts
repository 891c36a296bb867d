/** Whether another program computes what the engine does. */
import { UserError } from '#core/contract/errors.ts';
import type { Probe } from './used-logits.ts';

/** Largest difference of two logits that is put down to rounding, as a part of the largest logit. */
const LIMIT = 1e-3;

/** How far logits are from those of the engine. */
export interface LogitComparison {
  /** In rows that are not apart. */
  readonly largestDifference: number;
  readonly largestLogit: number;
  /** Rows in which logits differ by more than rounding. */
  readonly rowsApart: number;
}

/**
 * Compares logits row by row. Scores of experts that differ in their last bits send a token whose experts are nearly tied to
 * others, and then its row is apart; that a row of each shape is not shows that the rest is computed alike.
 * @param want logits [tokens, vocabulary] of the probe's tokens.
 * @param got the same of all places of its batch.
 * @param mayTie whether the model has experts to choose from.
 * @throws UserError `export/not-verified`.
 */
export function compareLogits(
  { at, rows }: Probe,
  want: Float32Array,
  got: Float32Array,
  mayTie: boolean,
): LogitComparison {
  const width = want.length / at.length;
  const largestLogit = want.reduce((largest, logit) => Math.max(largest, Math.abs(logit)), 0);
  const differenceIn = (from: number, to: number): number => {
    let largest = 0;
    for (let token = from; token < to; token++) {
      const place = at[token] as number;
      for (let id = 0; id < width; id++) {
        const difference = Math.abs(
          (got[place * width + id] as number) - (want[token * width + id] as number),
        );
        // What is not a number is as far off as can be.
        if (!(difference <= largest)) largest = Number.isNaN(difference) ? Infinity : difference;
      }
    }
    return largest;
  };
  const compared = rows.map(({ shape, from, to }) => ({ shape, difference: differenceIn(from, to) }));
  const isApart = ({ difference }: { readonly difference: number }) => !(difference <= LIMIT * largestLogit);
  const apart = compared.filter(isApart);
  const largest = (of: typeof compared) => Math.max(0, ...of.map(({ difference }) => difference));
  const hasLikeRow = ({ shape }: { readonly shape: number }) =>
    compared.some((row) => row.shape === shape && !isApart(row));
  if (apart.length > 0 && (!mayTie || !apart.every(hasLikeRow) || largest(apart) === Infinity)) {
    throw new UserError(
      'export/not-verified',
      `ONNX Runtime computes other logits from the written file than the run: they differ by ${largest(apart).toPrecision(2)} in ${apart.length} of ${rows.length} rows, the largest is ${largestLogit.toPrecision(2)}`,
      'Export with --format hf, and report this with the family and the method.',
    );
  }
  const alike = compared.filter((row) => !isApart(row));
  return { largestDifference: largest(alike), largestLogit, rowsApart: apart.length };
}
