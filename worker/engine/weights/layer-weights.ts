/** The weights of one layer as graph inputs, and their gradients as graph outputs. */
import {
  parameterId,
  placementOf,
  takeSubmatrices,
  type AdapterPlan,
  type Mode,
  type ParameterRole,
  type WeightDtypes,
} from '#worker/model/index.ts';
import type { TensorView, Tensors } from '#worker/runtime/index.ts';
import type { AdapterDropout } from '../adapter-dropout.ts';
import type { LayerParts } from '../layer-parts.ts';
import type { ParameterStore } from './parameter-store.ts';
import type { WeightUse } from '../stages/stage-program.ts';
import { rolesOf, type StageName } from '../stages/stage-roles.ts';

/** Weights of decoder layer `layer`, by stage. */
export class LayerWeights {
  readonly #store: ParameterStore;
  readonly #layer: number;
  readonly #adapters: AdapterPlan | null;
  readonly #dropout: AdapterDropout | null;
  /** By expert, null for what all tokens read: ids of roles, and types of roles. Both are asked for in every run of a stage. */
  readonly #ids = new Map<number | null, (role: string) => string>();
  readonly #dtypes = new Map<number | null, WeightDtypes>();
  /** The feed-forward half reads the norm of the attention. */
  readonly #parallel: boolean;
  readonly #roles = new Map<string | number, readonly ParameterRole[]>();
  readonly #views = new Map<string | number, Tensors>();
  readonly #places = new Map<string, Tensors>();

  constructor({ plan, store, session, dropout }: LayerParts, layer: number) {
    this.#parallel = plan.layers[layer]?.parallel ?? false;
    this.#store = store;
    this.#layer = layer;
    this.#adapters = session.adapters ?? null;
    this.#dropout = dropout;
  }

  #idOf(expert: number | null): (role: string) => string {
    return once(this.#ids, expert, () =>
      remembered((role) => {
        const own = this.#parallel ? role.replace(/^postAttentionNorm/, 'inputNorm') : role;
        return parameterId(own as ParameterRole, this.#layer, expert);
      }),
    );
  }

  /** What a stage reads of this layer, with what the method adds. */
  #present(stage: StageName, expert: number | null): readonly ParameterRole[] {
    return once(this.#roles, expert ?? stage, () => {
      const idOf = this.#idOf(expert);
      return rolesOf(stage).filter((role) => this.#store.has(idOf(role)));
    });
  }

  /** The weights of a stage. Views are looked up once, but for those that are good for one run only. */
  views(stage: StageName, expert: number | null = null): Tensors {
    const key = expert ?? stage;
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    const idOf = this.#idOf(expert);
    const present = this.#present(stage, expert);
    const inputs = this.#store.inputs(present.map(idOf));
    const views = Object.fromEntries(
      present.flatMap((role, at) => [
        [role, inputs[at]],
        ...this.#scalesOf(role, idOf(role)),
        ...Object.entries(this.#placesOf(role, idOf(role))),
      ]),
    ) as Tensors;
    if (!present.some((role) => this.#store.isPassing(idOf(role)))) this.#views.set(key, views);
    return views;
  }

  /**
   * What dropout multiplies the inputs of the adapters of a stage with, under `role.dropout`; good for one run.
   * @param mode nothing is left out but in training.
   * @param tokens the token of each row, or how many there are.
   * @param member tells experts apart whose masks are used together.
   */
  masks(
    stage: StageName,
    mode: Mode,
    tokens: Int32Array | number,
    expert: number | null = null,
    member = 0,
  ): Tensors {
    const dropout = this.#dropout;
    if (dropout === null || mode !== 'training') return {};
    const rows = typeof tokens === 'number' ? Int32Array.from({ length: tokens }, (_, row) => row) : tokens;
    const idOf = this.#idOf(expert);
    return Object.fromEntries(
      this.#present(stage, expert).flatMap((part) => {
        const [role = '', name] = part.split('.');
        if (name !== 'loraA') return [];
        const [, width = 0] = this.#store.weight(idOf(part)).shape;
        return [[`${role}.dropout`, dropout.mask(idOf(role), `${role} ${member}`, rows, width)]];
      }),
    );
  }

  /** The scales of a matrix that is held as int8 rows: see `weightInput`. */
  #scalesOf(role: ParameterRole, id: string): [string, TensorView][] {
    const scales = this.#store.scales(id);
    return scales === undefined ? [] : [[`${role}.scales`, scales]];
  }

  /** Where the sub-matrices of a weight are, and what it has there: see `matrixInput`. */
  #placesOf(role: ParameterRole, id: string): Tensors {
    const places = this.#adapters?.kind === 'submatrices' ? this.#adapters.places.get(id) : undefined;
    if (this.#adapters?.kind !== 'submatrices' || places === undefined) return {};
    const known = this.#places.get(id);
    if (known !== undefined) return known;
    const { size } = this.#adapters;
    const [out = 0, width = 0] = this.#store.weight(id).shape;
    const view = (data: Float32Array, ...shape: readonly number[]): TensorView => ({
      dtype: 'float32',
      shape,
      data,
    });
    const [rowCount, columnCount] = [out / size, width / size];
    const { rows, columns, at, touchedRows, touchedColumns } = placementOf(places, rowCount, columnCount);
    const start = takeSubmatrices(this.#store.values(id), size, places, width);
    const made: Tensors = {
      [`${role}.start`]: view(start, places.length, size, size),
      [`${role}.rows`]: view(rows, rowCount, touchedRows),
      [`${role}.columns`]: view(columns, columnCount, touchedColumns),
      [`${role}.at`]: view(at, touchedRows * touchedColumns, places.length),
    };
    this.#places.set(id, made);
    return made;
  }

  /** The type each weight is held in. */
  dtypes(expert: number | null = null): WeightDtypes {
    return once(this.#dtypes, expert, () => {
      const idOf = this.#idOf(expert);
      return remembered((role) => this.#store.dtype(idOf(role)));
    });
  }

  /** Which weights of a stage train. */
  use(stage: StageName, expert: number | null = null): WeightUse {
    const use = this.#store.weightUse(this.#present(stage, expert), this.#idOf(expert));
    return { ...use, dtypes: this.dtypes(expert) };
  }

  /** Gradients of a stage as inputs (what is added to) and outputs, in place; declares them written. */
  gradients(
    use: WeightUse,
    expert: number | null = null,
  ): { readonly feeds: Tensors; readonly fetches: Tensors } {
    return this.#store.gradientTensors(use, this.#idOf(expert));
  }
}

/** The value of `key`, made when it is first asked for. */
function once<K, V>(values: Map<K, V>, key: K, make: () => V): V {
  const known = values.get(key);
  if (known !== undefined) return known;
  const made = make();
  values.set(key, made);
  return made;
}

/** A function of a role that keeps what it gave. */
function remembered<T>(of: (role: string) => T): (role: string) => T {
  const known = new Map<string, T>();
  return (role) => {
    let value = known.get(role);
    if (value === undefined) {
      value = of(role);
      known.set(role, value);
    }
    return value;
  };
}
