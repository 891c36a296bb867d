/** The token router of a layer, where the method has some: learns what the layer's router chose. */
import { invariant } from '#core/contract/errors.ts';
import {
  parameterId,
  type Choice,
  type Distillation,
  type LayerUsage,
  type MethodSession,
} from '#worker/model/index.ts';
import type { AuxiliaryValue } from '../auxiliary-losses.ts';
import type { LayerParts } from '../layer-parts.ts';
import { LayerWeights } from '../weights/layer-weights.ts';

/** Runs the token router of decoder layer `index`. */
export class TokenRouterRunner {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #index: number;
  readonly #embeddingId: string;

  constructor(parts: LayerParts, index: number) {
    this.#parts = parts;
    this.#weights = new LayerWeights(parts, index);
    this.#index = index;
    this.#embeddingId = parameterId('tokenEmbedding', index, null);
  }

  /**
   * Adds the gradients of a layer's loss to the store, and returns its value: the mean over real tokens.
   * @param ids_N the token of each row; −1: padding.
   * @param scale multiplies the gradients.
   */
  async learn(
    { chosen_NK, k }: Choice,
    ids_N: Int32Array,
    experts: number,
    { width }: Distillation,
    scale: number,
  ): Promise<number> {
    const { store, workspace, kernels, programs } = this.#parts;
    const real = Int32Array.from(ids_N.keys()).filter((token) => ids_N[token] !== -1);
    if (real.length === 0 || !store.isTrained(this.#embeddingId)) return 0;
    const ids_n = real.map((token) => ids_N[token] as number);
    return workspace.scratch(async () => {
      const embedding = store.weight(this.#embeddingId);
      const [vocabulary = 0] = embedding.shape;
      const rows = workspace.tensor(real.length, width);
      kernels.gatherRows(rows.offset, embedding.data.byteOffset, ids_n, width, vocabulary);
      const targets = workspace.zeros(real.length, experts);
      for (const [row, token] of real.entries()) {
        const chosen = chosen_NK.subarray(token * k, (token + 1) * k).filter((expert) => expert >= 0);
        invariant(chosen.length > 0, 'a real token has an expert');
        for (const expert of chosen) targets.data[row * experts + expert] = 1 / chosen.length;
      }
      const loss = workspace.tensor(real.length);
      const dLoss = workspace.tensor(real.length);
      dLoss.data.fill(scale / real.length);
      const dRows = workspace.tensor(real.length, width);
      const use = this.#weights.use('tokenRouter');
      const program = await programs.tokenRouterBackward(this.#index, width, use);
      const gradients = this.#weights.gradients(use);
      program.run(
        { rows, targets, ...this.#weights.views('tokenRouter'), 'd.loss': dLoss, ...gradients.feeds },
        { loss, 'grad.rows': dRows, ...gradients.fetches },
      );
      const target = store.addableGradient(this.#embeddingId);
      kernels.addRows(target, dRows.offset, ids_n, width, vocabulary);
      return loss.data.reduce((sum, value) => sum + value, 0) / real.length;
    });
  }
}

/** The loss of token routers in a micro-batch: the mean over MoE layers. */
export class DistillationLoss {
  readonly #distillation: Distillation;
  readonly #share: number;
  readonly #scale: number;
  #sum = 0;

  private constructor(distillation: Distillation, layers: number, microBatches: number) {
    this.#distillation = distillation;
    this.#share = 1 / layers;
    this.#scale = distillation.coefficient / microBatches;
  }

  /** Null where token routers do not learn. @param layers MoE layers of the model. */
  static of({ distillation }: MethodSession, layers: number, microBatches: number): DistillationLoss | null {
    return distillation ? new DistillationLoss(distillation, layers, microBatches) : null;
  }

  /** Lets the router of a layer learn from what the layer did. */
  async learn(router: TokenRouterRunner, { choice, ids_N, hard_E }: LayerUsage): Promise<void> {
    const scale = this.#share * this.#scale;
    this.#sum += this.#share * (await router.learn(choice, ids_N, hard_E.length, this.#distillation, scale));
  }

  get value(): AuxiliaryValue {
    return { name: 'distillation', value: this.#sum, weighted: this.#sum * this.#scale };
  }
}
