/** Turns a data set into micro-batches, in an order that can be resumed exactly. */
import { UserError } from '#core/contract/errors.ts';
import type { Packing } from '#core/contract/run-spec.ts';
import type { Dataset } from './dataset.ts';
import { epochOrder } from './order.ts';
import { bucketByLength, packRows, singleRows } from './packer.ts';
import type { RowPlan } from './packer.ts';
import { IGNORED } from './processor.ts';

/** B rows of S tokens, row-major. */
export interface MicroBatch {
  readonly inputIds: Int32Array;
  /** Same position as the input, −100 = not trained; the model shifts. The first token of a segment is never trained. */
  readonly labels: Int32Array;
  /** Position inside the segment, from 0. */
  readonly positions: Int32Array;
  /** Examples of a row are numbered from 1; 0 is padding. Attention stays inside a segment. */
  readonly segments: Int32Array;
  /** B. */
  readonly batch: number;
  /** S: the longest row of this micro-batch. */
  readonly sequence: number;
  readonly trainedTokens: number;
  /** Without padding. */
  readonly tokens: number;
  readonly epoch: number;
  /** Example numbers in the data set, row by row; `Dataset.origin` gives file and row. */
  readonly examples: readonly number[];
}

/** All there is to know to go on: kept in the trainer's checkpoint. */
export interface LoaderState {
  readonly seed: number;
  readonly epoch: number;
  /** Rows of the epoch already handed out. */
  readonly position: number;
}

/** How examples become micro-batches. */
export interface LoaderOptions {
  /** Rows of a micro-batch; the last of an epoch may have fewer. */
  readonly microBatch: number;
  /** Longest row in tokens when packing. */
  readonly maxLength: number;
  readonly packing: Packing;
  readonly seed: number;
  /** Written where there is no token; any id of the vocabulary will do, since it is masked. */
  readonly padId: number;
  /** false: file order before rows are put into buckets, for evaluation. Default true. */
  readonly shuffle?: boolean;
}

/** Hands out micro-batches, epoch after epoch, from any saved state. */
export interface Loader {
  readonly state: LoaderState;
  /** Rows and micro-batches of the current epoch; with packing they vary a little between epochs. */
  readonly rowsPerEpoch: number;
  readonly microBatchesPerEpoch: number;
  /** The next micro-batch; goes on with the next epoch by itself. */
  next(): MicroBatch;
  /** Goes to a saved state. @throws UserError `data/loader-state` when it belongs to other data or another seed. */
  restore(state: LoaderState): void;
  /** One whole epoch in order, without touching the state: for evaluation. */
  pass(epoch?: number): Generator<MicroBatch>;
}

/** @throws UserError `data/too-long` when an example is longer than `maxLength`. */
export function createLoader(dataset: Dataset, options: LoaderOptions): Loader {
  const tooLong = dataset.lengths.findIndex((length) => length > options.maxLength);
  if (tooLong >= 0) {
    throw new UserError(
      'data/too-long',
      `an example has ${dataset.lengths[tooLong]} tokens, more than maxLength ${options.maxLength}`,
      'Prepare the data with the same maxLength.',
    );
  }
  return new DatasetLoader(dataset, options);
}

class DatasetLoader implements Loader {
  readonly #dataset: Dataset;
  readonly #options: LoaderOptions;
  #epoch = 0;
  #position = 0;
  #plan: RowPlan;

  constructor(dataset: Dataset, options: LoaderOptions) {
    this.#dataset = dataset;
    this.#options = options;
    this.#plan = this.#planEpoch(0);
  }

  get state(): LoaderState {
    return { seed: this.#options.seed, epoch: this.#epoch, position: this.#position };
  }

  get rowsPerEpoch(): number {
    return this.#plan.starts.length - 1;
  }

  get microBatchesPerEpoch(): number {
    return Math.ceil(this.rowsPerEpoch / this.#options.microBatch);
  }

  next(): MicroBatch {
    if (this.#position >= this.rowsPerEpoch) this.#startEpoch(this.#epoch + 1, 0);
    const end = Math.min(this.#position + this.#options.microBatch, this.rowsPerEpoch);
    const batch = this.#collate(this.#plan, this.#position, end, this.#epoch);
    this.#position = end;
    return batch;
  }

  restore(state: LoaderState): void {
    if (state.seed !== this.#options.seed) {
      throw new UserError(
        'data/loader-state',
        `the checkpoint was made with seed ${state.seed}, the run has seed ${this.#options.seed}`,
        'Resume with the configuration the run was started with.',
      );
    }
    this.#startEpoch(state.epoch, state.position);
    if (state.position > this.rowsPerEpoch) {
      throw new UserError(
        'data/loader-state',
        `the checkpoint stands at row ${state.position} of an epoch that has ${this.rowsPerEpoch}`,
        'The data has changed since the checkpoint: restore the data files, or start a new run.',
      );
    }
  }

  *pass(epoch = 0): Generator<MicroBatch> {
    const plan = epoch === this.#epoch ? this.#plan : this.#planEpoch(epoch);
    const rows = plan.starts.length - 1;
    for (let start = 0; start < rows; start += this.#options.microBatch) {
      yield this.#collate(plan, start, Math.min(start + this.#options.microBatch, rows), epoch);
    }
  }

  #startEpoch(epoch: number, position: number): void {
    if (epoch !== this.#epoch) this.#plan = this.#planEpoch(epoch);
    this.#epoch = epoch;
    this.#position = position;
  }

  #planEpoch(epoch: number): RowPlan {
    const { microBatch, maxLength, packing, seed } = this.#options;
    const { length, lengths } = this.#dataset;
    const order =
      this.#options.shuffle === false
        ? Uint32Array.from({ length }, (_, index) => index)
        : epochOrder(length, seed, epoch);
    if (packing === true) return packRows(order, lengths, maxLength);
    return singleRows(
      packing === 'buckets' ? bucketByLength(order, lengths, { microBatch, seed, epoch }) : order,
    );
  }

  #collate(plan: RowPlan, firstRow: number, endRow: number, epoch: number): MicroBatch {
    const batch = endRow - firstRow;
    const rows = Array.from({ length: batch }, (_, index) => [
      ...plan.examples.subarray(plan.starts[firstRow + index], plan.starts[firstRow + index + 1]),
    ]);
    const lengthOf = (row: readonly number[]) =>
      row.reduce((sum, example) => sum + (this.#dataset.lengths[example] ?? 0), 0);
    const sequence = Math.max(...rows.map(lengthOf));
    const size = batch * sequence;
    const inputIds = new Int32Array(size).fill(this.#options.padId);
    const labels = new Int32Array(size).fill(IGNORED);
    const positions = new Int32Array(size);
    const segments = new Int32Array(size);
    let tokens = 0;
    let trainedTokens = 0;
    for (const [index, row] of rows.entries()) {
      let at = index * sequence;
      for (const [segment, example] of row.entries()) {
        const read = this.#dataset.read(example);
        inputIds.set(read.ids, at);
        labels.set(read.labels, at);
        for (let position = 0; position < read.ids.length; position++) positions[at + position] = position;
        segments.fill(segment + 1, at, at + read.ids.length);
        at += read.ids.length;
        tokens += read.ids.length;
        trainedTokens += read.trainedCount;
      }
    }
    const examples = rows.flat();
    return { inputIds, labels, positions, segments, batch, sequence, trainedTokens, tokens, epoch, examples };
  }
}
