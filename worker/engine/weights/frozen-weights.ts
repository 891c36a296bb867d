/** Weights that do not train, in the bytes of the checkpoint or rounded to int8 rows: held in memory, or read whenever a stage needs them. */
import { invariant } from '#core/contract/errors.ts';
import type { ModelFolder } from '#worker/checkpoint/index.ts';
import type { Arena, ArenaBlock, Kernels } from '#worker/kernels/index.ts';
import { elementCount, type Parameter, type StoredDtype, type WeightRole } from '#worker/model/index.ts';
import type { TensorView } from '#worker/runtime/index.ts';
import { rolesReadWith } from '../stages/stage-roles.ts';
import type { Int8Rows } from './int8-rows.ts';
import { readLocated, readRow, type Located } from './locate-parameter.ts';
import { isLayerMatrix } from './weight-homes.ts';

/** The type of a weight in memory. */
export type HeldDtype = StoredDtype | 'int8';

interface Streamed {
  readonly parameter: Parameter;
  readonly place: Located;
  readonly dtype: StoredDtype;
}

/** A weight in memory. */
export interface Held {
  readonly parameter: Parameter;
  readonly view: TensorView;
  /** The scales of its rows, where it is rounded to int8. */
  readonly scales?: TensorView;
}

/** Memory for the streamed weights of one role, and which of them is in it. */
interface Slot {
  readonly bytes: Uint8Array<ArrayBuffer>;
  id: string;
}

/**
 * Frozen weights, in memory of their own or in the arena, where kernels see them.
 *
 * Streamed ones share one slot for each role: a stage reads one weight of a role at a time, and reading the next overwrites
 * it. The folder must stay open while there are any. Matrices in the arena are widened by a kernel on all threads,
 * into places of which a stage has one for each role: 2 million bfloat16 elements take 0.23 ms, inside a graph 0.57 (two cores with
 * AVX-512).
 */
export class FrozenWeights {
  readonly #folder: ModelFolder;
  readonly #arena: Arena;
  readonly #kernels: Kernels;
  /** Height of the arena below the first weight. */
  readonly #start: number;
  /** Those in the arena in the order of their places. */
  readonly #held = new Map<string, Held>();
  readonly #streamed = new Map<string, Streamed>();
  readonly #slots = new Map<string, Slot>();
  /** Where matrices are widened, by role; those of different stages share their places. */
  readonly #wide = new Map<WeightRole, ArenaBlock>();
  /** All these places, which lie side by side. */
  #wideRoom: ArenaBlock = { offset: 0, bytes: 0 };

  /** @param from weights of the same model in the same arena that are given up, and which of them stay. */
  constructor(
    folder: ModelFolder,
    arena: Arena,
    kernels: Kernels,
    from?: { readonly weights: FrozenWeights; readonly keeps: (held: Held) => boolean },
  ) {
    this.#folder = folder;
    this.#arena = arena;
    this.#kernels = kernels;
    this.#start = from === undefined ? arena.mark() : from.weights.#start;
    if (from !== undefined) this.#take(from.weights.#held, from.keeps);
  }

  /** What stays of the arena's moves together, so that nothing is lost between. */
  #take(given: Map<string, Held>, keeps: (held: Held) => boolean): void {
    this.#arena.release(this.#start);
    for (const [id, held] of given) {
      const { parameter, view } = held;
      if (!keeps(held)) discard(view);
      else if (!isInArena(view)) this.#held.set(id, held);
      else {
        const { buffer, byteOffset, byteLength } = view.data;
        const block = this.#arena.allocate(byteLength);
        invariant(block.offset <= byteOffset, `${id} moves down`);
        const bytes = this.#arena.u8(block, byteLength);
        bytes.set(new Uint8Array(buffer, byteOffset, byteLength));
        this.#held.set(id, { parameter, view: viewOf(bytes, parameter, view.dtype as StoredDtype) });
      }
    }
    given.clear();
  }

  /** Reads a weight into memory. */
  hold(parameter: Parameter, place: Located, dtype: StoredDtype, where: 'arena' | 'own memory'): void {
    const { bytes } = place;
    const target = where === 'arena' ? this.#arena.u8(this.#arena.allocate(bytes), bytes) : allocate(bytes);
    readLocated(this.#folder, place, target);
    this.#held.set(parameter.id, { parameter, view: viewOf(target, parameter, dtype) });
  }

  /** Keeps int8 rows in place of a matrix in memory of its own. */
  round(id: string, { values_RC, scales_R }: Int8Rows): void {
    const stored = this.#held.get(id);
    invariant(stored !== undefined && !isInArena(stored.view), `${id} is in memory of its own`);
    const { parameter, view } = stored;
    this.#held.set(id, {
      parameter,
      view: { dtype: 'int8', shape: view.shape, data: values_RC },
      scales: { dtype: 'float32', shape: [scales_R.length], data: scales_R },
    });
    discard(view);
  }

  /** Makes room to widen weights in, when all are held. */
  reserve(): void {
    const sizes = new Map<WeightRole, number>();
    for (const { parameter, view } of this.#held.values()) {
      if (!isWidened(parameter, view)) continue;
      const role = parameter.role as WeightRole;
      sizes.set(role, Math.max(sizes.get(role) ?? 0, 4 * view.data.length));
    }
    // Stages run one after the other: what one reads may lie where that of another has been.
    const rolesByPlace = Map.groupBy(sizes.keys(), (role) =>
      rolesReadWith(role)
        .filter((mate) => sizes.has(mate))
        .indexOf(role),
    );
    const places = [...rolesByPlace.values()].map((roles) => ({
      roles,
      bytes: aligned(Math.max(...roles.map((role) => sizes.get(role) ?? 0))),
    }));
    this.#wideRoom = this.#arena.allocate(places.reduce((sum, { bytes }) => sum + bytes, 0));
    let { offset } = this.#wideRoom;
    for (const { roles, bytes } of places) {
      for (const role of roles) this.#wide.set(role, { offset, bytes });
      offset += bytes;
    }
  }

  /** The room in which matrices of layers are widened, for what runs while no stage of a layer does. */
  get wideRoom(): ArenaBlock {
    return this.#wideRoom;
  }

  /** The scales of a matrix that was rounded; undefined for all others. */
  scales(id: string): TensorView | undefined {
    return this.#held.get(id)?.scales;
  }

  has(id: string): boolean {
    return this.#held.has(id) || this.#streamed.has(id);
  }

  /** Leaves a weight on disk. */
  stream(parameter: Parameter, place: Located, dtype: StoredDtype): void {
    this.#streamed.set(parameter.id, { parameter, place, dtype });
  }

  /** Whether a weight is read whenever it is used. */
  isStreamed(id: string): boolean {
    return this.#streamed.has(id);
  }

  /** Whether the graph input is only good until the next one of its role is asked for. */
  isPassing(id: string): boolean {
    return this.isStreamed(id) || this.isWidened(id);
  }

  /** The weight as it is held, or undefined where it is not among these. */
  view(id: string): TensorView | undefined {
    const held = this.#held.get(id);
    if (held !== undefined) return held.view;
    const streamed = this.#streamed.get(id);
    return streamed && this.#read(streamed);
  }

  /** The weights that a stage reads as graph inputs; undefined where one is not among these. */
  inputs(ids: readonly string[]): (TensorView | undefined)[] {
    const copies: { target: number; source: number; n: number }[] = [];
    const views = ids.map((id) => {
      const view = this.view(id);
      if (view === undefined || !this.isWidened(id)) return view;
      const { role } = (this.#held.get(id) as Held).parameter;
      const block = this.#wide.get(role as WeightRole);
      invariant(block !== undefined, `there is room to widen ${role}`);
      const { shape, data } = view;
      copies.push({ target: block.offset, source: data.byteOffset, n: data.length });
      return { dtype: 'float32', shape, data: this.#arena.f32(block, data.length) } as const;
    });
    if (copies.length > 0) this.#kernels.bf16ToF32Each(copies);
    return views;
  }

  /** Reads one row of a streamed matrix into `target`, which is as long as the row. */
  readRow(id: string, row: number, target: Uint8Array): void {
    const streamed = this.#streamed.get(id);
    invariant(streamed !== undefined, `${id} is on disk`);
    readRow(this.#folder, streamed.place, row, target);
  }

  /** How the weight is held, without reading it. */
  dtype(id: string): HeldDtype | undefined {
    return this.#streamed.get(id)?.dtype ?? (this.#held.get(id)?.view.dtype as HeldDtype | undefined);
  }

  /** Whether the graph input is float32, whatever is held. */
  isWidened(id: string): boolean {
    const held = this.#held.get(id);
    return held !== undefined && isWidened(held.parameter, held.view);
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

/** A bfloat16 matrix of a layer that kernels see. ONNX Runtime widens float16 faster than they do. */
function isWidened(parameter: Parameter, view: TensorView): boolean {
  return isLayerMatrix(parameter) && view.dtype === 'bfloat16' && isInArena(view);
}

/** Places side by side begin where kernels read fastest. */
const aligned = (bytes: number): number => Math.ceil(bytes / 64) * 64;

function isInArena({ data }: TensorView): boolean {
  return data.buffer instanceof SharedArrayBuffer;
}

/** Gives the memory of a weight back at once: before the next collection there may be gigabytes. What lies in the arena stays. */
function discard({ data: { buffer } }: TensorView): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/**
 * Memory that is not touched before it is read into. A resizable buffer has pages of its own, which go back to the system when
 * it is discarded; others lie among what the programs allocate, and the allocator of a worker keeps their room.
 */
function allocate(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(bytes, { maxByteLength: bytes }), 0, bytes);
}

function viewOf(bytes: Uint8Array, { id, shape }: Parameter, dtype: StoredDtype): TensorView {
  const count = elementCount(shape);
  invariant(bytes.length === count * (dtype === 'float32' ? 4 : 2), `${id}: ${bytes.length} bytes`);
  const data =
    dtype === 'float32'
      ? new Float32Array(bytes.buffer, bytes.byteOffset, count)
      : new Uint16Array(bytes.buffer, bytes.byteOffset, count);
  return { dtype, shape, data };
}
