/** All parameters of a model: what trains in blocks of the arena, what does not in the checkpoint's bytes. */
import { UserError, invariant } from '#core/contract/errors.ts';
import type { MomentFormat } from '#core/contract/run-spec.ts';
import type { ModelFolder } from '#worker/checkpoint/index.ts';
import type { Arena, Kernels } from '#worker/kernels/index.ts';
import {
  elementCount,
  isAdded,
  isContiguous,
  isTokenRouter,
  type AddedParameter,
  type DecoderPlan,
  type Family,
  type Parameter,
  type StoredDtype,
  type WeightDtype,
} from '#worker/model/index.ts';
import type { DeviceMemory, DeviceTensor, TensorView, Tensors } from '#worker/runtime/index.ts';
import { DeviceParameters, type DevicePlace } from './device-parameters.ts';
import { FrozenWeights, discard, type Held } from './frozen-weights.ts';
import { roundRows } from './int8-rows.ts';
import { locateParameter, readLocated, type Located } from './locate-parameter.ts';
import type { TrainedPart } from './moments.ts';
import type { WeightUse } from './stage-program.ts';
import { TrainedMemory } from './trained-memory.ts';

const safetensorsDtype: Readonly<Record<string, StoredDtype>> = {
  F32: 'float32',
  BF16: 'bfloat16',
  F16: 'float16',
};

/** What a store is made from. */
export interface LoadParts {
  /** Must stay open while weights are streamed from it. */
  readonly folder: ModelFolder;
  readonly family: Family;
  readonly plan: DecoderPlan;
  /** All of the model under its method, those of the checkpoint first. */
  readonly parameters: readonly Parameter[];
  readonly isTrained: (parameter: Parameter) => boolean;
  /** Which frozen weights stay on disk and are read whenever they are used; absent: none. */
  readonly isStreamed?: (parameter: Parameter) => boolean;
  /** Keeps an embedding that does not train in memory too: another may then be put in its place. */
  readonly holdsEmbedding?: boolean;
  /** Which frozen matrices that are in memory are rounded to int8 rows; absent: none. For programs on the CPU only. */
  readonly isRounded?: (parameter: Parameter) => boolean;
  readonly arena: Arena;
  readonly kernels: Kernels;
  /** Absent: float32. */
  readonly moments?: MomentFormat;
  /** Memory of the GPU that programs run on; absent or null: they run on the CPU. */
  readonly device?: DeviceMemory | null;
  /** Where parameters lie for those, absent: all there. A trained embedding must lie in host memory, where its gradient is added up. */
  readonly devicePlace?: (parameter: Parameter) => DevicePlace;
  /** A store of the same checkpoint over the same arena that is given up: what it holds and this one needs is not read again. */
  readonly from?: ParameterStore;
}

/** @throws UserError `checkpoint/unsupported-dtype`. */
function heldDtype(folder: ModelFolder, { entry }: Located): StoredDtype {
  const dtype = safetensorsDtype[entry.dtype];
  if (dtype !== undefined) return dtype;
  throw new UserError(
    'checkpoint/unsupported-dtype',
    `${folder.dir}: tensor ${entry.name} is ${entry.dtype}; weights must be F32, BF16 or F16`,
    'Convert the checkpoint to bfloat16 or float32 first.',
  );
}

/** An embedding that is only looked up, a few rows at a time. */
function isLookedUp({ role }: Parameter, { tiedHead }: DecoderPlan, { layout }: Located): boolean {
  return role === 'embedding' && !tiedHead && (layout === null || isContiguous(layout));
}

/** All parameters of one model in memory. */
export class ParameterStore {
  readonly parameters: readonly Parameter[];
  readonly trained: TrainedMemory;
  /** What is on the graphics adapter that programs run on; null: they run on the CPU. */
  readonly device: DeviceParameters | null;
  readonly #arena: Arena;
  readonly #lowestTrained: number;
  readonly #views = new Map<string, TensorView>();
  readonly #gradients = new Map<string, TensorView>();
  readonly #written = new Set<string>();
  readonly #kernels: Kernels;
  readonly #frozen: FrozenWeights;

  private constructor(
    {
      arena,
      kernels,
      parameters,
      device = null,
      devicePlace = () => 'device',
      moments = 'float32',
    }: LoadParts,
    trainable: readonly Parameter[],
    frozen: FrozenWeights,
  ) {
    this.#arena = arena;
    this.#frozen = frozen;
    this.#kernels = kernels;
    this.parameters = parameters;
    this.trained = new TrainedMemory(trainable, arena, kernels, moments);
    this.device = device && new DeviceParameters(device, this.trained, parameters, devicePlace);
    // The embedding lies before the first layer, norm and head behind the last. Token routers lie beside the layers.
    this.#lowestTrained = trainable
      .filter((parameter) => !isTokenRouter(parameter))
      .reduce(
        (lowest, { role, layer }) => Math.min(lowest, layer ?? (role === 'embedding' ? -1 : Infinity)),
        Infinity,
      );
    for (const { id } of trainable) {
      this.#views.set(id, this.trained.view('weight', id));
      this.#gradients.set(id, this.trained.view('gradient', id));
    }
  }

  /**
   * Reads a checkpoint folder into memory, and starts the parameters that it does not have.
   * @throws UserError `checkpoint/missing-tensor` or `checkpoint/wrong-shape` naming tensor and expectation.
   */
  static load(parts: LoadParts): ParameterStore {
    const { folder, family, plan, parameters, isTrained, isStreamed, isRounded, from } = parts;
    const { holdsEmbedding = false } = parts;
    const store = new ParameterStore(parts, parameters.filter(isTrained), new FrozenWeights(folder));
    for (const parameter of parameters) {
      if (isAdded(parameter)) {
        store.#start(parameter);
        continue;
      }
      const place = locateParameter(folder, family, plan, parameter);
      // Taken in any case, so that what is not needed goes.
      const held = from === undefined ? undefined : from.#release(parameter.id);
      const trains = store.isTrained(parameter.id);
      const rounds = !trains && (isRounded?.(parameter) ?? false);
      const looksUp = !holdsEmbedding && isLookedUp(parameter, plan, place);
      const staysOnDisk = looksUp || (isStreamed?.(parameter) ?? false);
      if (!trains && staysOnDisk) store.#frozen.stream(parameter, place, heldDtype(folder, place));
      else if (!trains && held !== undefined && (held.scales !== undefined) === rounds)
        store.#frozen.adopt(parameter.id, held);
      else {
        if (held !== undefined) discard(held.view);
        store.#read(folder, place, parameter);
        if (rounds) store.#round(parameter);
      }
    }
    return store;
  }

  /** Gives up a frozen weight that is in memory; undefined where there is none. */
  #release(id: string): Held | undefined {
    if (this.trained.has(id)) return undefined;
    const view = this.#views.get(id);
    this.#views.delete(id);
    return view === undefined ? this.#frozen.release(id) : { view };
  }

  #start(parameter: AddedParameter): void {
    const { id, shape } = parameter;
    const count = elementCount(shape);
    if (!this.trained.has(id)) {
      const data = this.#arena.f32(this.#arena.allocate(count * 4), count);
      this.#views.set(id, { dtype: 'float32', shape, data });
    }
    const values = parameter.initial((weight) => this.values(weight));
    invariant(values.length === count, `${id} starts with ${values.length} values of ${count}`);
    (this.weight(id).data as Float32Array).set(values);
  }

  #read(folder: ModelFolder, place: Located, parameter: Parameter): void {
    const { id, role, shape } = parameter;
    const dtype = heldDtype(folder, place);
    const count = elementCount(shape);
    const { bytes } = place;
    if (!this.isTrained(id)) {
      if (role !== 'embedding' && role !== 'head') {
        this.#frozen.hold(parameter, place, dtype);
        return;
      }
      // Kernels widen the head and look rows of one that is tied up, and they see the arena only.
      const block = this.#arena.allocate(bytes);
      readLocated(folder, place, this.#arena.u8(block, bytes));
      const data = dtype === 'float32' ? this.#arena.f32(block, count) : this.#arena.u16(block, count);
      this.#views.set(id, { dtype, shape, data });
      return;
    }
    const target = this.trained.view('weight', id).data.byteOffset;
    if (dtype === 'float32') {
      readLocated(folder, place, this.#arena.u8(target, bytes));
      return;
    }
    const mark = this.#arena.mark();
    const scratch = this.#arena.allocate(bytes);
    readLocated(folder, place, this.#arena.u8(scratch, bytes));
    this.#widen(dtype, target, scratch.offset, count);
    this.#arena.release(mark);
  }

  #round({ id, shape }: Parameter): void {
    this.#frozen.round(
      id,
      this.#widened(this.weight(id), (values) => roundRows(values, shape[1] ?? 0)),
    );
  }

  /**
   * The weight in host memory; frozen bf16 and f16 ones are 16-bit words, rounded ones the values of their int8 rows. That of
   * a streamed one is good until the next weight of its role is asked for.
   */
  weight(id: string): TensorView {
    const view = this.#views.get(id) ?? this.#frozen.view(id);
    invariant(view !== undefined, `no parameter ${id}`);
    this.device?.pull(id, 'weight');
    return view;
  }

  /** The weight of a parameter that trains, to be changed in place; `publishWeights` ends the changes. */
  trainedWeight(id: string): Float32Array {
    this.device?.beginRewrite(id);
    return this.trained.view('weight', id).data;
  }

  /** Tells the graphics adapter of the weights that were changed in place. */
  publishWeights(): void {
    this.device?.endRewrites();
  }

  /** The weight as a graph input, of type `dtype(id)`; that of a streamed one is good for one run. */
  input(id: string): TensorView | DeviceTensor {
    if (this.device === null) return this.weight(id);
    const wide = (): TensorView => {
      const view = this.#views.get(id) ?? this.#frozen.view(id);
      invariant(view !== undefined, `no parameter ${id}`);
      return view.dtype === 'float32' ? view : { ...view, dtype: 'float32', data: this.values(id) };
    };
    return this.device.weight(id, wide);
  }

  /** The scales of a matrix that was rounded to int8 rows; undefined for every other weight. */
  scales(id: string): TensorView | undefined {
    return this.#frozen.scales(id);
  }

  /** Writes rows `ids` of the embedding, in float32 and `width` wide each, to byte offset `target` of the arena. */
  lookUp(ids: Int32Array, width: number, target: number): void {
    const id = 'embedding';
    if (!this.#frozen.isStreamed(id)) {
      // It lies in the arena, so that a view says where.
      const { dtype, data } = this.weight(id);
      if (dtype === 'float32')
        this.#kernels.gatherRows(target, data.byteOffset, ids, width, data.length / width);
      else
        ids.forEach((row, at) => {
          this.#widen(dtype, target + at * width * 4, data.byteOffset + row * width * 2, width);
        });
      return;
    }
    const dtype = this.#frozen.dtype(id);
    const bytes = width * (dtype === 'float32' ? 4 : 2);
    const mark = this.#arena.mark();
    const stored = dtype === 'float32' ? target : this.#arena.allocate(ids.length * bytes).offset;
    ids.forEach((row, at) => {
      this.#frozen.readRow(id, row, this.#arena.u8(stored + at * bytes, bytes));
    });
    if (dtype !== 'float32') this.#widen(dtype, target, stored, ids.length * width);
    this.#arena.release(mark);
  }

  /** Widens `count` elements of 16 bits inside the arena. */
  #widen(dtype: TensorView['dtype'] | undefined, target: number, source: number, count: number): void {
    if (dtype === 'bfloat16') this.#kernels.bf16ToF32(target, source, count);
    else this.#kernels.f16ToF32(target, source, count);
  }

  /** A copy of a weight in float32. */
  values(id: string): Float32Array {
    return this.#widened(this.weight(id), (values) => values.slice());
  }

  /** What `work` makes of a weight in float32, which it may not keep. */
  #widened<T>({ dtype, data }: TensorView, work: (values: Float32Array) => T): T {
    if (dtype === 'float32') return work(data as Float32Array);
    invariant(dtype !== 'int8', 'what was rounded is no copy of the weight: that is in the checkpoint');
    const mark = this.#arena.mark();
    const narrow = this.#arena.allocate(data.length * 2);
    const wide = this.#arena.allocate(data.length * 4);
    this.#arena.u16(narrow, data.length).set(data as Uint16Array);
    this.#widen(dtype, wide.offset, narrow.offset, data.length);
    const result = work(this.#arena.f32(wide, data.length));
    this.#arena.release(mark);
    return result;
  }

  /** False for parameters the plan does not have (norms of a family without them). */
  has(id: string): boolean {
    return this.#views.has(id) || this.#frozen.dtype(id) !== undefined;
  }

  /** The type of the weight as a graph input; null: there is none. */
  dtype(id: string): WeightDtype | null {
    if (this.device !== null) return this.has(id) ? 'float32' : null;
    return this.#frozen.dtype(id) ?? (this.#views.get(id)?.dtype as WeightDtype | undefined) ?? null;
  }

  /** Whether a view of the weight does not last. */
  isStreamed(id: string): boolean {
    return this.#frozen.isStreamed(id) || (this.device?.passes(id) ?? false);
  }

  isTrained(id: string): boolean {
    return this.trained.has(id);
  }

  /** Whether anything trains that the hidden state meets before decoder layer `layer`. */
  trainsBefore(layer: number): boolean {
    return this.#lowestTrained < layer;
  }

  /** The gradient of a trained parameter in host memory. */
  gradient(id: string): TensorView {
    const view = this.#gradients.get(id);
    invariant(view !== undefined, `${id} is not trained and has no gradient`);
    this.device?.pull(id, 'gradient');
    return view;
  }

  /** Which of a stage's weights train, and whether their gradients are added to (then all of them are). */
  weightUse(roles: readonly string[], idOf: (role: string) => string): WeightUse {
    const trained = roles.filter((role) => this.trained.has(idOf(role)));
    return {
      dtypes: (role) => this.dtype(idOf(role)),
      trained,
      accumulates: trained.some((role) => this.#written.has(idOf(role))),
    };
  }

  /** Gradients of a stage as inputs (what is added to) and outputs, in place; declares them written. */
  gradientTensors(
    use: WeightUse,
    idOf: (role: string) => string,
  ): { readonly feeds: Tensors; readonly fetches: Tensors } {
    const entries = use.trained.map((role) => {
      const id = idOf(role);
      // A weight that another stage reads too may have a gradient before the others of this stage.
      if (use.accumulates && !this.#written.has(id)) this.#zeroGradient(id);
      return [role, this.#writtenGradient(id)] as const;
    });
    const named = (prefix: string) =>
      Object.fromEntries(entries.map(([role, view]) => [`${prefix}${role}`, view]));
    return { feeds: use.accumulates ? named('acc.grad.') : {}, fetches: named('grad.') };
  }

  /** The gradient of `id`, which something writes now, where programs write it. */
  #writtenGradient(id: string): TensorView | DeviceTensor {
    this.#written.add(id);
    return this.device?.trains(id) ? this.device.writtenGradient(id) : this.gradient(id);
  }

  #zeroGradient(id: string): void {
    if (this.device?.trains(id)) this.device.zeroGradient(id);
    else this.trained.zeroGradient(id);
  }

  /** Where the gradient of `id` lies in host memory, made ready to be added to: zeroed if it is the first this step. */
  addableGradient(id: string): number {
    invariant(this.device?.trains(id) !== true, `the gradient of ${id} is added up on the GPU`);
    if (!this.#written.has(id)) this.#zeroGradient(id);
    this.#written.add(id);
    return this.trained.gradientOffset(id);
  }

  /** Zeroes gradients that nothing wrote (experts without tokens): a missing gradient counts as zero. */
  completeGradients(): void {
    for (const id of this.trained.ids) if (!this.#written.has(id)) this.#zeroGradient(id);
  }

  /** Declares all gradients stale, for the next optimizer step. */
  clearGradients(): void {
    this.#written.clear();
  }

  /** Trained parameters with views of their master weight and moments, for checkpoints. */
  *trainedParts(): Generator<{
    readonly parameter: Parameter;
    readonly parts: readonly TrainedPart[];
  }> {
    for (const parameter of this.parameters) {
      const { id } = parameter;
      if (!this.isTrained(id)) continue;
      this.device?.pull(id, 'weight', ...(this.device.moves(id) ? (['first', 'second'] as const) : []));
      yield { parameter, parts: this.trained.parts(id) };
    }
  }
}
