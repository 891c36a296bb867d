/**
 * What a model predicts with its local experts, mixed with what it predicts without: `p = (1 − γ) p_base + γ p_local` for each
 * token (the form of Zhang et al. 2018, arXiv 1811.00056). γ = σ(v·φ + c), φ the last hidden state of the base divided by its
 * root mean square; 1 without a gate.
 */
import { additionsOf, parameterId, type DecoderPlan, type Mode } from '#worker/model/index.ts';
import type { ParameterStore } from '../weights/parameter-store.ts';

/**
 * Loss of one token, and the share γ p_local / p of it that the local experts answer for. The gradient of the loss with respect to
 * their cross-entropy is that share r, with respect to the logit of γ it is γ − r, to γ itself (γ − r) / (γ (1 − γ)).
 * @param baseLoss cross-entropies of base and local experts, in nats.
 */
export function mixLosses(
  share: number,
  baseLoss: number,
  localLoss: number,
): { loss: number; local: number } {
  if (share === 0 || share === 1) return { loss: share === 0 ? baseLoss : localLoss, local: share };
  const [base, local] = [Math.log(1 - share) - baseLoss, Math.log(share) - localLoss];
  const largest = Math.max(base, local);
  const sum = largest + Math.log(Math.exp(base - largest) + Math.exp(local - largest));
  return { loss: -sum, local: Math.exp(local - sum) };
}

/** Logarithms of the mixed probabilities of each row, in place of the logits with local experts. */
export function mixRows(shares_N: Float32Array, base_NV: Float32Array, local_NV: Float32Array): void {
  const width = local_NV.length / shares_N.length;
  for (const [row, share] of shares_N.entries()) {
    const base_V = base_NV.subarray(row * width, (row + 1) * width);
    const local_V = local_NV.subarray(row * width, (row + 1) * width);
    const [baseSum, localSum] = [logSumExp(base_V), logSumExp(local_V)];
    for (let id = 0; id < width; id++) {
      const losses = [baseSum - (base_V[id] as number), localSum - (local_V[id] as number)] as const;
      local_V[id] = -mixLosses(share, ...losses).loss;
    }
  }
}

function logSumExp(values: Float32Array): number {
  let largest = -Infinity;
  for (const value of values) largest = Math.max(largest, value);
  let sum = 0;
  for (const value of values) sum += Math.exp(value - largest);
  return largest + Math.log(sum);
}

/** Divides each row by its root mean square. @param states_NH last hidden states of the base. */
export function gateFeatures(states_NH: Float32Array, width: number): Float32Array {
  const features = Float32Array.from(states_NH);
  for (let from = 0; from < features.length; from += width) {
    const row = features.subarray(from, from + width);
    const scale = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / width);
    if (scale > 0) row.forEach((value, i) => (row[i] = value / scale));
  }
  return features;
}

const GATE = parameterId('localGate', null, null);
const BIAS = parameterId('localGateBias', null, null);

/** The gate of a model whose outputs are mixed. */
export class OutputMixture {
  readonly #store: ParameterStore;
  readonly #gated: boolean;
  readonly #threshold: number | null;
  readonly #width: number;

  private constructor(store: ParameterStore, gated: boolean, threshold: number | null, width: number) {
    this.#store = store;
    this.#gated = gated;
    this.#threshold = threshold;
    this.#width = width;
  }

  /** Null: the model has local experts in no or in the residual form. */
  static of(plan: DecoderPlan, store: ParameterStore): OutputMixture | null {
    const { localExpert } = additionsOf(plan);
    if (localExpert?.mixture !== 'output') return null;
    return new OutputMixture(store, localExpert.gated, localExpert.threshold, plan.hiddenSize);
  }

  /** γ of each row of features. */
  shares(features_NH: Float32Array, mode: Mode): Float32Array {
    const rows = features_NH.length / this.#width;
    if (!this.#gated) return new Float32Array(rows).fill(1);
    const v_H = this.#store.values(GATE);
    const [c = 0] = this.#store.values(BIAS);
    const threshold = mode === 'training' ? null : this.#threshold;
    return Float32Array.from({ length: rows }, (_, row) => {
      let logit = c;
      for (let i = 0; i < this.#width; i++)
        logit += (v_H[i] as number) * (features_NH[row * this.#width + i] as number);
      const soft = 1 / (1 + Math.exp(-logit));
      return threshold === null ? soft : Number(soft > threshold);
    });
  }

  #gradient(id: string): Float32Array {
    this.#store.addableGradient(id);
    return this.#store.gradient(id).data as Float32Array;
  }

  /** Adds the gradients of v and c, from those of the logits of γ. */
  addGradients(features_NH: Float32Array, dLogits_N: Float32Array): void {
    if (!this.#gated || !this.#store.isTrained(GATE)) return;
    const [dV_H, dC] = [this.#gradient(GATE), this.#gradient(BIAS)];
    for (const [row, dLogit] of dLogits_N.entries()) {
      dC[0] = (dC[0] as number) + dLogit;
      for (let i = 0; i < this.#width; i++)
        dV_H[i] = (dV_H[i] as number) + dLogit * (features_NH[row * this.#width + i] as number);
    }
  }
}
