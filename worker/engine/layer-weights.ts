/** The weights of one layer as graph inputs, and their gradients as graph outputs. */
import { parameterId, type ParameterRole, type WeightDtypes } from '#worker/model/index.ts';
import type { Tensors } from '#worker/runtime/index.ts';
import type { ParameterStore } from './parameter-store.ts';
import type { WeightUse } from './stage-program.ts';
import { rolesOf, type StageName } from './stage-roles.ts';

/** Weights of decoder layer `layer`, by stage. */
export class LayerWeights {
  readonly #store: ParameterStore;
  readonly #layer: number;
  readonly #roles = new Map<string | number, readonly ParameterRole[]>();
  readonly #views = new Map<string | number, Tensors>();

  constructor(store: ParameterStore, layer: number) {
    this.#store = store;
    this.#layer = layer;
  }

  #idOf(expert: number | null): (role: string) => string {
    return (role) => parameterId(role as ParameterRole, this.#layer, expert);
  }

  /** What a stage reads of this layer, with what the method adds. */
  #present(stage: StageName, expert: number | null): readonly ParameterRole[] {
    const key = expert ?? stage;
    const known = this.#roles.get(key);
    if (known !== undefined) return known;
    const idOf = this.#idOf(expert);
    const roles = rolesOf(stage).filter((role) => this.#store.has(idOf(role)));
    this.#roles.set(key, roles);
    return roles;
  }

  /** The weights of a stage. Views are looked up once, but for streamed weights, whose views are good for one run. */
  views(stage: StageName, expert: number | null = null): Tensors {
    const key = expert ?? stage;
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    const idOf = this.#idOf(expert);
    const present = this.#present(stage, expert);
    const views = Object.fromEntries(present.map((role) => [role, this.#store.weight(idOf(role))]));
    if (!present.some((role) => this.#store.isStreamed(idOf(role)))) this.#views.set(key, views);
    return views;
  }

  /** The type each weight is held in. */
  dtypes(expert: number | null = null): WeightDtypes {
    const idOf = this.#idOf(expert);
    return (role) => (this.#store.has(idOf(role)) ? this.#store.dtype(idOf(role)) : 'float32');
  }

  /** Which weights of a stage train. */
  use(stage: StageName, expert: number | null = null): WeightUse {
    return this.#store.weightUse(this.#present(stage, expert), this.#idOf(expert));
  }

  /** Gradients of a stage as inputs (what is added to) and outputs, in place; declares them written. */
  gradients(
    use: WeightUse,
    expert: number | null = null,
  ): { readonly feeds: Tensors; readonly fetches: Tensors } {
    return this.#store.gradientTensors(use, this.#idOf(expert));
  }
}
