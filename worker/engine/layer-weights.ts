/** The weights of one layer as graph inputs, and their gradients as graph outputs. */
import { parameterId, type ParameterRole, type WeightDtypes } from '#worker/model/index.ts';
import type { Tensors } from '#worker/runtime/index.ts';
import type { ParameterStore } from './parameter-store.ts';
import { stageRoles, type StageName, type WeightUse } from './stage-programs.ts';

/** Weights of decoder layer `layer`, by stage. */
export class LayerWeights {
  readonly #store: ParameterStore;
  readonly #layer: number;
  readonly #views = new Map<string | number, Tensors>();

  constructor(store: ParameterStore, layer: number) {
    this.#store = store;
    this.#layer = layer;
  }

  #idOf(expert: number | null): (role: string) => string {
    return (role) => parameterId(role as ParameterRole, this.#layer, expert);
  }

  /** The weights of a stage. Views are looked up once, but for streamed weights, whose views are good for one run. */
  views(stage: StageName, expert: number | null = null): Tensors {
    const key = expert ?? stage;
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    const idOf = this.#idOf(expert);
    const present = stageRoles[stage].filter((role) => this.#store.has(idOf(role)));
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
    return this.#store.weightUse(stageRoles[stage], this.#idOf(expert));
  }

  /** Gradients of a stage as inputs (what is added to) and outputs, in place; declares them written. */
  gradients(
    use: WeightUse,
    expert: number | null = null,
  ): { readonly feeds: Tensors; readonly fetches: Tensors } {
    return this.#store.gradientTensors(use, this.#idOf(expert));
  }
}
