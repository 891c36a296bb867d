/** Weights that do not train, in the bytes of the checkpoint or rounded to int8 rows: held in memory, or read whenever a stage needs them. */
import { invariant } from '#core/contract/errors.ts';
import type { ModelFolder } from '#worker/checkpoint/index.ts';
import { elementCount, type Parameter, type StoredDtype, type WeightDtype } from '#worker/model/index.ts';
import type { TensorView } from '#worker/runtime/index.ts';
import type { Int8Rows } from './int8-rows.ts';
import { readLocated, readRow, type Located } from './locate-parameter.ts';

interface Streamed {
  readonly parameter: Parameter;
  readonly place: Located;
  readonly dtype: StoredDtype;
}

/** A weight in memory, and the scales of its rows where it is rounded to int8. */
export interface Held {
  readonly view: TensorView;
  readonly scales?: TensorView;
}

/** Memory for the streamed weights of one role, and which of them is in it. */
interface Slot {
  readonly bytes: Uint8Array<ArrayBuffer>;
  id: string;
}

/**
 * Frozen weights lie outside the arena, whose size is limited.
 *
 * Streamed ones share one slot for each role: a stage reads one weight of a role at a time, and reading the next overwrites
 * it. The folder must stay open while there are any.
 */
export class FrozenWeights {
  readonly #folder: ModelFolder;
  readonly #held = new Map<string, Held>();
  readonly #streamed = new Map<string, Streamed>();
  readonly #slots = new Map<string, Slot>();

  constructor(folder: ModelFolder) {
    this.#folder = folder;
  }

  /** Keeps a weight that is in memory. */
  adopt(id: string, held: Held): void {
    this.#held.set(id, held);
  }

  /** Gives a weight away that is in memory; undefined where it is not. */
  release(id: string): Held | undefined {
    const held = this.#held.get(id);
    this.#held.delete(id);
    return held;
  }

  /** Reads a weight into memory of its own. */
  hold(parameter: Parameter, place: Located, dtype: StoredDtype): void {
    const bytes = allocate(place.bytes);
    readLocated(this.#folder, place, bytes);
    this.#held.set(parameter.id, { view: viewOf(bytes, parameter, dtype) });
  }

  /** Keeps int8 rows in place of a matrix that is in memory. */
  round(id: string, { values_RC, scales_R }: Int8Rows): void {
    const stored = this.#held.get(id)?.view;
    invariant(stored !== undefined, `${id} is in memory`);
    const { shape } = stored;
    this.#held.set(id, {
      view: { dtype: 'int8', shape, data: values_RC },
      scales: { dtype: 'float32', shape: [scales_R.length], data: scales_R },
    });
    discard(stored);
  }

  /** The scales of a matrix that was rounded; undefined for all others. */
  scales(id: string): TensorView | undefined {
    return this.#held.get(id)?.scales;
  }

  /** Leaves a weight on disk. */
  stream(parameter: Parameter, place: Located, dtype: StoredDtype): void {
    this.#streamed.set(parameter.id, { parameter, place, dtype });
  }

  /** Whether the view of a weight is only good until the next one of its role is asked for. */
  isStreamed(id: string): boolean {
    return this.#streamed.has(id);
  }

  /** The weight as a graph input, or undefined where it is not among these. */
  view(id: string): TensorView | undefined {
    const held = this.#held.get(id);
    if (held !== undefined) return held.view;
    const streamed = this.#streamed.get(id);
    return streamed && this.#read(streamed);
  }

  /** Reads one row of a streamed matrix into `target`, which is as long as the row. */
  readRow(id: string, row: number, target: Uint8Array): void {
    const streamed = this.#streamed.get(id);
    invariant(streamed !== undefined, `${id} is on disk`);
    readRow(this.#folder, streamed.place, row, target);
  }

  /** How the weight is held, without reading it. */
  dtype(id: string): WeightDtype | undefined {
    return this.#streamed.get(id)?.dtype ?? (this.#held.get(id)?.view.dtype as WeightDtype | undefined);
  }

  #read({ parameter, place, dtype }: Streamed): TensorView {
    const { id, role } = parameter;
    let slot = this.#slots.get(role);
    if (slot === undefined || slot.bytes.length < place.bytes) {
      slot = { bytes: allocate(place.bytes), id: '' };
      this.#slots.set(role, slot);
    }
    const bytes = slot.bytes.subarray(0, place.bytes);
    if (slot.id !== id) {
      // Half of one weight and half of another must never pass for one of them.
      slot.id = '';
      readLocated(this.#folder, place, bytes);
      slot.id = id;
    }
    return viewOf(bytes, parameter, dtype);
  }
}

/** Gives the memory of a weight back at once: before the next collection there may be gigabytes. What lies in the arena stays. */
export function discard({ data: { buffer } }: TensorView): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/**
 * Memory that is not touched before it is read into. A resizable buffer has pages of its own, which go back to the system when
 * it is discarded; others lie among what the programs allocate, and the allocator of a worker keeps their room.
 */
function allocate(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(bytes, { maxByteLength: bytes }), 0, bytes);
}

function viewOf(bytes: Uint8Array<ArrayBuffer>, { id, shape }: Parameter, dtype: StoredDtype): TensorView {
  const count = elementCount(shape);
  invariant(bytes.length === count * (dtype === 'float32' ? 4 : 2), `${id}: ${bytes.length} bytes`);
  const data =
    dtype === 'float32'
      ? new Float32Array(bytes.buffer, bytes.byteOffset, count)
      : new Uint16Array(bytes.buffer, bytes.byteOffset, count);
  return { dtype, shape, data };
}
