/** One micro-batch as the engine reads it, and what attention needs to know of it. */
import { UserError } from '#core/contract/errors.ts';

/** `batch` rows of `sequence` tokens; all arrays are `[batch × sequence]`. */
export interface MicroBatch {
  readonly batch: number;
  readonly sequence: number;
  readonly inputIds: Int32Array;
  /** Aligned with the input (not shifted); −100: not trained. */
  readonly labels: Int32Array;
  readonly positions: Int32Array;
  /** Examples of a packed row, numbered from 1; 0 is padding. Attention stays inside one. */
  readonly segments: Int32Array;
}

/** The label that marks a token as not trained. */
const IGNORED_LABEL = -100;

/**
 * Rows of real tokens that fill them, each one example.
 * @param labels what is trained; nothing when absent.
 */
export function unpaddedBatch(
  inputIds: Int32Array,
  rows = 1,
  labels: Int32Array = new Int32Array(inputIds.length).fill(IGNORED_LABEL),
): MicroBatch {
  const sequence = inputIds.length / rows;
  return {
    batch: rows,
    sequence,
    inputIds,
    labels,
    positions: inputIds.map((_, i) => i % sequence),
    segments: new Int32Array(inputIds.length).fill(1),
  };
}

/**
 * Positions whose next token is trained, and that token: the model shifts labels by one, inside a row.
 * @returns flat positions and as many target ids.
 */
export function lossTargets(batch: MicroBatch): { readonly at: Int32Array; readonly targets: Int32Array } {
  const at: number[] = [];
  const targets: number[] = [];
  for (let row = 0; row < batch.batch; row++) {
    for (let column = 0; column + 1 < batch.sequence; column++) {
      const position = row * batch.sequence + column;
      const label = batch.labels[position + 1] as number;
      if (label === IGNORED_LABEL) continue;
      at.push(position);
      targets.push(label);
    }
  }
  return { at: Int32Array.from(at), targets: Int32Array.from(targets) };
}

/** 1 for a real token, 0 for padding. */
export function realTokenMask(batch: MicroBatch): Uint8Array {
  return Uint8Array.from(batch.segments, (segment) => (segment > 0 ? 1 : 0));
}

/** The ids of real tokens; −1 for padding. */
export function realTokenIds({ inputIds }: MicroBatch, mask_N: Uint8Array): Int32Array {
  return inputIds.map((id, at) => (mask_N[at] === 1 ? id : -1));
}

/**
 * Refuses ids outside the vocabulary before they reach a table look-up.
 * @throws UserError `data/token-out-of-range`.
 */
export function checkTokenIds(batch: Pick<MicroBatch, 'inputIds' | 'labels'>, vocabularySize: number): void {
  const check = (id: number, what: string) => {
    if (id < 0 || id >= vocabularySize) {
      throw new UserError(
        'data/token-out-of-range',
        `${what} ${id} is outside the model's vocabulary of ${vocabularySize}`,
        'The tokenizer does not belong to this checkpoint, or its vocabulary is larger than the embedding.',
      );
    }
  };
  for (const id of batch.inputIds) check(id, 'token id');
  for (const label of batch.labels) if (label !== IGNORED_LABEL) check(label, 'label');
}
