/** The end of an optimizer step for what trains on the GPU: gradients, masters and moments stay there. */
import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder, op, type Dim, type Graph, type Value } from '#worker/graph/index.ts';
import type { DeviceMemory, Program, Runtime, TensorView } from '#worker/runtime/index.ts';
import type { DeviceParameters } from '../weights/device-parameters.ts';
import type { ParameterStore } from '../weights/parameter-store.ts';

/** What a step of AdamW multiplies with; see `adamwGraph`. */
export interface AdamWFactors {
  /** Scale of the gradient: clipping. */
  readonly clip: number;
  /** `1 - lr · weightDecay` for what decays. */
  readonly decay: number;
  readonly beta1: number;
  readonly beta2: number;
  /** `lr / (1 - beta1^t)`. */
  readonly rate: number;
  /** `sqrt(1 - beta2^t)`. */
  readonly root: number;
  readonly eps: number;
}

const FACTORS = ['clip', 'decay', 'beta1', 'beta2', 'rate', 'root', 'eps'] as const;

/** Runs the optimizer's programs over parameters on the GPU. */
export class DeviceOptimizer {
  readonly #parameters: DeviceParameters;
  readonly #memory: DeviceMemory;
  readonly #ids: readonly string[];
  /** By number of axes. */
  readonly #squares = new Map<number, Program>();
  readonly #adamw = new Map<number, Program>();

  private constructor(own: DeviceParameters, memory: DeviceMemory, ids: readonly string[]) {
    this.#parameters = own;
    this.#memory = memory;
    this.#ids = ids;
  }

  /** The optimizer of what `store` has on the GPU with its moments; null: nothing. */
  static async create(store: ParameterStore, runtime: Runtime): Promise<DeviceOptimizer | null> {
    const { device } = store;
    const parameters = store.parameters.filter(({ id }) => device?.moves(id) === true);
    if (runtime.device === null || device === null || parameters.length === 0) return null;
    const optimizer = new DeviceOptimizer(
      device,
      runtime.device,
      parameters.map(({ id }) => id),
    );
    for (const axes of new Set(parameters.map(({ shape }) => shape.length))) {
      optimizer.#squares.set(axes, await runtime.compile(squaresGraph(axes, parameters.length)));
      optimizer.#adamw.set(axes, await runtime.compile(adamwGraph(axes)));
    }
    return optimizer;
  }

  /** Sum of the squares of each gradient, by id: one number for each comes back to the host. */
  squares(): Map<string, number> {
    const sums = this.#memory.upload(vector(new Float32Array(this.#ids.length)));
    for (const [at, id] of this.#ids.entries()) {
      const gradient = this.#parameters.gradient(id);
      const place: TensorView = { dtype: 'int32', shape: [1], data: Int32Array.of(at) };
      programOf(this.#squares, gradient.shape).run({ g: gradient, sums, place }, { total: sums });
    }
    const read = new Float32Array(this.#ids.length);
    this.#memory.read(sums, read);
    sums.dispose();
    return new Map(this.#ids.map((id, at) => [id, read[at] ?? NaN]));
  }

  /** One step of AdamW over every parameter that is not frozen; matrices decay, vectors do not. */
  step(frozen: ReadonlySet<string>, factors: AdamWFactors): void {
    const values = FACTORS.map((name) => factors[name]);
    const decaying = this.#memory.upload(vector(Float32Array.from(values)));
    const plain = this.#memory.upload(
      vector(Float32Array.from(FACTORS, (name) => (name === 'decay' ? 1 : factors[name]))),
    );
    for (const id of this.#ids) {
      if (frozen.has(id)) continue;
      const { weight: w, gradient: g, first: m, second: v } = this.#parameters.trained(id);
      const program = programOf(this.#adamw, w.shape);
      const given = w.shape.length > 1 ? decaying : plain;
      program.run({ w, g, m, v, factors: given }, { nextW: w, nextM: m, nextV: v });
    }
    decaying.dispose();
    plain.dispose();
  }
}

function vector(data: Float32Array): TensorView {
  return { dtype: 'float32', shape: [data.length], data };
}

function programOf(programs: ReadonlyMap<number, Program>, shape: readonly number[]): Program {
  const program = programs.get(shape.length);
  invariant(program !== undefined, `no optimizer program for ${shape.length} axes`);
  return program;
}

const dimsOf = (axes: number): Dim[] => Array.from({ length: axes }, (_unused, axis) => `D${axis}`);

/** Puts the sum of the squares of `g` at `place` of `sums_P`. */
function squaresGraph(axes: number, parameters: number): Graph {
  const builder = new GraphBuilder('gradient squares');
  const g = builder.input('g', 'float32', dimsOf(axes));
  const sums_P = builder.input('sums', 'float32', [parameters]);
  const place = builder.input('place', 'int32', [1]);
  const sum = op.reduceSum(op.square(g), { axes: Array.from({ length: axes }, (_unused, axis) => axis) });
  const places_P = builder.constant({
    dtype: 'int32',
    shape: [parameters],
    data: Int32Array.from({ length: parameters }, (_unused, at) => at),
  });
  builder.output('total', op.where(op.equal(places_P, place), sum, sums_P));
  return builder.build();
}

/**
 * AdamW (Loshchilov and Hutter 2019): `m ← β1 m + (1 - β1) g`, `v ← β2 v + (1 - β2) g²`,
 * `w ← decay · w - rate · m / (√v / root + eps)`, with `g` scaled by `clip` first. Each tensor is read for the last time
 * before its next value is written, so that it can be written in place.
 */
function adamwGraph(axes: number): Graph {
  const builder = new GraphBuilder('adamw');
  const dims = dimsOf(axes);
  const input = (name: string) => builder.input(name, 'float32', dims);
  const [w, g, m, v] = [input('w'), input('g'), input('m'), input('v')];
  const all = builder.input('factors', 'float32', [FACTORS.length]);
  const factor = (name: keyof AdamWFactors) => {
    const at = FACTORS.indexOf(name);
    return op.slice(all, { axis: 0, start: at, end: at + 1 });
  };
  const clipped = op.mul(g, factor('clip'));
  const mixed = (old: Value, fresh: Value, beta: Value) =>
    op.add(op.mul(old, beta), op.mul(fresh, op.sub(1, beta)));
  const first = mixed(m, clipped, factor('beta1'));
  const second = mixed(v, op.square(clipped), factor('beta2'));
  const scale = op.add(op.div(op.sqrt(second), factor('root')), factor('eps'));
  const move = op.div(op.mul(first, factor('rate')), scale);
  builder.output('nextM', first);
  builder.output('nextV', second);
  builder.output('nextW', op.sub(op.mul(w, factor('decay')), move));
  return builder.build();
}
