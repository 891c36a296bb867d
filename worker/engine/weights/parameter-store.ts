/** All parameters of a model: what trains in blocks of the arena, what does not in the checkpoint's bytes. */
import { invariant } from '#core/contract/errors.ts';
import type { MomentFormat } from '#core/contract/run-spec.ts';
import type { ModelFolder } from '#worker/checkpoint/index.ts';
import type { Arena, ArenaBlock, Kernels } from '#worker/kernels/index.ts';
import {
  elementCount,
  isAdded,
  isTokenRouter,
  type AddedParameter,
  type Family,
  type Parameter,
  type StoredDtype,
  type WeightDtype,
} from '#worker/model/index.ts';
import type { DeviceMemory, DeviceTensor, TensorView, Tensors } from '#worker/runtime/index.ts';
import { DeviceParameters, type DevicePlace } from './device-parameters.ts';
import { FloatWidths } from './float-widths.ts';
import { FrozenWeights, type Held, type HeldDtype } from './frozen-weights.ts';
import { roundRows } from './int8-rows.ts';
import { locateParameter, readLocated, type Located } from './locate-parameter.ts';
import type { TrainedPart } from './moments.ts';
import type { WeightUse } from '../stages/stage-program.ts';
import { TrainedMemory } from './trained-memory.ts';
import { arenaPlaces, heldDtype, homeOf, type HomeRules } from './weight-homes.ts';
import { isHalf, widen } from './widen.ts';

/** What a store is made from. */
export interface LoadParts extends HomeRules {
  /** Must stay open while weights are streamed from it. */
  readonly folder: ModelFolder;
  readonly family: Family;
  /** All of the model under its method, those of the checkpoint first. */
  readonly parameters: readonly Parameter[];
  readonly arena: Arena;
  /** What activations are planned to take there; absent: not much. */
  readonly activationBytes?: number;
  readonly kernels: Kernels;
  /** Programs multiply int8 rows as they are, in place of widening them first. */
  readonly multipliesInt8?: boolean;
  /** Absent: float32. */
  readonly moments?: MomentFormat;
  /** Memory of the GPU that programs run on; absent or null: they run on the CPU. */
  readonly device?: DeviceMemory | null;
  /** Where parameters lie for those, absent: all there. A trained embedding must lie in host memory, where its gradient is added up. */
  readonly devicePlace?: (parameter: Parameter) => DevicePlace;
  /**
   * Which frozen weights of the checkpoint, of a type there, the GPU holds in float16, unless they have a value beyond its range; absent:
   * none. For a GPU that has float16 only.
   */
  readonly isHalf?: (parameter: Parameter, stored: StoredDtype) => boolean;
  /** A store of the same checkpoint over the same arena that is given up: what it holds and this one needs is not read again. */
  readonly from?: ParameterStore;
}

/** All parameters of one model in memory. */
export class ParameterStore {
  readonly parameters: readonly Parameter[];
  readonly trained: TrainedMemory;
  /** What is on the graphics adapter that programs run on; null: they run on the CPU. */
  readonly device: DeviceParameters | null;
  /** Whether graphs multiply int8 rows as they are. */
  readonly multipliesInt8: boolean;
  readonly #arena: Arena;
  readonly #lowestTrained: number;
  readonly #views = new Map<string, TensorView>();
  readonly #gradients = new Map<string, TensorView>();
  readonly #written = new Set<string>();
  readonly #kernels: Kernels;
  readonly #frozen: FrozenWeights;
  readonly #widths: FloatWidths;
  /** Weights that the GPU is to hold in float16, and whether it can; null: their values were not looked at. */
  readonly #halves = new Map<string, boolean | null>();

  private constructor(
    {
      arena,
      kernels,
      parameters,
      device = null,
      devicePlace = () => 'device',
      moments = 'float32',
      multipliesInt8 = false,
    }: LoadParts,
    trainable: readonly Parameter[],
    frozen: FrozenWeights,
  ) {
    this.#arena = arena;
    this.#frozen = frozen;
    this.#kernels = kernels;
    this.#widths = new FloatWidths(arena, kernels);
    this.multipliesInt8 = multipliesInt8;
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
    const { folder, family, plan, parameters, isTrained, arena, kernels, from } = parts;
    const stored = new Map(
      parameters
        .filter((parameter) => !isAdded(parameter))
        .map((parameter) => [parameter.id, locateParameter(folder, family, plan, parameter)] as const),
    );
    const home = (parameter: Parameter) => homeOf(parts, parameter, stored.get(parameter.id));
    const keeps = ({ parameter, scales }: Held) =>
      home(parameter) === (scales === undefined ? 'memory' : 'int8 rows');
    const frozen = new FrozenWeights(folder, arena, kernels, from && { weights: from.#frozen, keeps });
    const store = new ParameterStore(parts, parameters.filter(isTrained), frozen);
    const isHeld = (parameter: Parameter) => home(parameter) === 'memory' && !frozen.has(parameter.id);
    const inArena = arenaPlaces(
      parameters.filter(isHeld),
      stored,
      arena,
      parts.activationBytes ?? 0,
      store.device !== null,
    );
    for (const parameter of parameters) {
      const { id } = parameter;
      const place = stored.get(id);
      if (isAdded(parameter)) store.#start(parameter);
      else if (place !== undefined && !frozen.has(id)) {
        const dtype = heldDtype(folder, place);
        if (isTrained(parameter)) store.#readTrained(folder, place, id);
        else if (home(parameter) === 'disk') frozen.stream(parameter, place, dtype);
        else frozen.hold(parameter, place, dtype, inArena.has(id) ? 'arena' : 'own memory');
        if (home(parameter) === 'int8 rows') store.#round(parameter);
      }
      if (place !== undefined && parts.isHalf?.(parameter, heldDtype(folder, place)) === true)
        store.#halves.set(id, null);
    }
    frozen.reserve();
    return store;
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

  /** Reads a weight that trains into its master. */
  #readTrained(folder: ModelFolder, place: Located, id: string): void {
    const dtype = heldDtype(folder, place);
    const { bytes } = place;
    const { byteOffset: target, length: count } = this.trained.view('weight', id).data;
    if (dtype === 'float32') {
      readLocated(folder, place, this.#arena.u8(target, bytes));
      return;
    }
    const mark = this.#arena.mark();
    const scratch = this.#arena.allocate(bytes);
    readLocated(folder, place, this.#arena.u8(scratch, bytes));
    widen(this.#kernels, dtype, target, scratch.offset, count);
    this.#arena.release(mark);
  }

  #round({ id, shape }: Parameter): void {
    this.#frozen.round(
      id,
      this.#widths.widened(this.weight(id), (values) => roundRows(values, shape[1] ?? 0)),
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

  /** The weights that a stage reads as graph inputs, of type `dtype(id)`; those that are `isPassing` are good for one run. */
  inputs(ids: readonly string[]): (TensorView | DeviceTensor)[] {
    const { device } = this;
    if (device === null) return this.#inputs(ids);
    return ids.map((id) =>
      device.weight(id, () => {
        const view = this.#input(id);
        if (this.#isHalf(id)) return this.#widths.toFloat16(view);
        return view.dtype === 'float32' ? view : { ...view, dtype: 'float32', data: this.values(id) };
      }),
    );
  }

  #input(id: string): TensorView {
    return this.#inputs([id])[0] as TensorView;
  }

  /** The weights as inputs of a program on the CPU. */
  #inputs(ids: readonly string[]): TensorView[] {
    const frozen = this.#frozen.inputs(ids);
    return ids.map((id, at) => {
      const view = this.#views.get(id) ?? frozen[at];
      invariant(view !== undefined, `no parameter ${id}`);
      return view;
    });
  }

  /** Whether the GPU holds the weight in float16. */
  #isHalf(id: string): boolean {
    const known = this.#halves.get(id);
    if (known !== null) return known ?? false;
    const fits = this.#widths.fitsFloat16(this.#input(id));
    this.#halves.set(id, fits);
    return fits;
  }

  /** Memory for what runs while no stage of a layer does: these widen their matrices there. There may be none. */
  get roomBetweenLayers(): ArenaBlock {
    return this.#frozen.wideRoom;
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
      if (isHalf(dtype))
        ids.forEach((row, at) => {
          const source = data.byteOffset + row * width * 2;
          widen(this.#kernels, dtype, target + at * width * 4, source, width);
        });
      else this.#kernels.gatherRows(target, data.byteOffset, ids, width, data.length / width);
      return;
    }
    const dtype = this.#frozen.dtype(id);
    const bytes = width * (dtype === 'float32' ? 4 : 2);
    const mark = this.#arena.mark();
    const stored = dtype === 'float32' ? target : this.#arena.allocate(ids.length * bytes).offset;
    ids.forEach((row, at) => {
      this.#frozen.readRow(id, row, this.#arena.u8(stored + at * bytes, bytes));
    });
    if (isHalf(dtype)) widen(this.#kernels, dtype, target, stored, ids.length * width);
    this.#arena.release(mark);
  }

  /** A copy of a weight in float32. */
  values(id: string): Float32Array {
    return this.#widths.widened(this.weight(id), (values) => values.slice());
  }

  /** False for parameters the plan does not have (norms of a family without them). */
  has(id: string): boolean {
    return this.#views.has(id) || this.#frozen.has(id);
  }

  /** How graphs read the weight; null: there is none. */
  dtype(id: string): WeightDtype | null {
    if (this.device !== null && this.has(id)) return this.#isHalf(id) ? 'float16' : 'float32';
    if (this.#frozen.isWidened(id)) return 'float32';
    const held = this.heldDtype(id);
    return held === 'int8' && this.multipliesInt8 ? 'int8-products' : held;
  }

  /** The type the weight is held in; null: there is none. */
  heldDtype(id: string): HeldDtype | null {
    return this.#frozen.dtype(id) ?? (this.#views.get(id)?.dtype as HeldDtype | undefined) ?? null;
  }

  /** Whether the weight is read from disk whenever it is used. */
  isStreamed(id: string): boolean {
    return this.#frozen.isStreamed(id);
  }

  /** Whether the graph input of a weight does not last: the next one of its role takes its place. */
  isPassing(id: string): boolean {
    return this.#frozen.isPassing(id) || (this.device?.passes(id) ?? false);
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
