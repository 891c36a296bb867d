/** One layer forward and backward: attention, then experts or a dense MLP. */
import { invariant } from '#core/contract/errors.ts';
import type { LayerRoutingGradient, Mode } from '#worker/model/index.ts';
import type { Tensors } from '#worker/runtime/index.ts';
import { AttentionDecoder, type RowSpan } from './attention/attention-decoder.ts';
import { AttentionRunner, type AttentionInputs, type AttentionTrace } from './attention/attention-runner.ts';
import { DenseRunner, type DenseTrace } from './dense-runner.ts';
import type { KeyValueCache } from './attention/key-value-cache.ts';
import type { LayerParts } from './layer-parts.ts';
import { LayerWeights } from './weights/layer-weights.ts';
import { MoeRunner, type MoeTrace } from './experts/moe-runner.ts';
import type { ArenaTensor } from './workspace.ts';

/** What a layer keeps for its backward pass. */
export interface LayerTrace {
  readonly attention: AttentionTrace;
  readonly feedForward: MoeTrace | DenseTrace;
}

/** Runs decoder layer `index`, which is MoE layer `moeIndex` if it has experts. */
export class LayerRunner {
  readonly #parts: LayerParts;
  readonly #attention: AttentionRunner;
  readonly #decoder: AttentionDecoder;
  readonly #feedForward: MoeRunner | DenseRunner;
  /** Both halves read the layer's input. */
  readonly #isParallel: boolean;
  /** Nothing in or before the attention trains, so that no gradient needs to go through it. */
  readonly #isLowest: boolean;

  constructor(parts: LayerParts, index: number, moeIndex: number) {
    const layer = parts.plan.layers[index];
    invariant(layer !== undefined, `layer ${index} of ${parts.plan.layers.length}`);
    this.#parts = parts;
    const weights = new LayerWeights(parts, index);
    this.#isParallel = layer.parallel ?? false;
    this.#attention = new AttentionRunner(parts, weights, index);
    this.#decoder = new AttentionDecoder(parts, weights, index);
    this.#isLowest = !parts.store.trainsBefore(index) && weights.use('attention').trained.length === 0;
    const { feedForward } = layer;
    this.#feedForward =
      feedForward.kind === 'moe'
        ? new MoeRunner(parts, weights, feedForward, index, moeIndex, this.#isLowest)
        : new DenseRunner(parts, weights, feedForward, index);
  }

  /** Hidden state `h` [N, hidden] through the layer. @param ids_N the token of each row; −1: it visits no expert. */
  async forward(h: ArenaTensor, inputs: AttentionInputs, ids_N: Int32Array, mode: Mode): Promise<LayerTrace> {
    const attention = await this.#attention.forward(h, inputs, mode);
    const feedForward = await this.#forwardFrom(h, attention.out, ids_N, mode);
    return { attention, feedForward };
  }

  /** The feed-forward half: `h` is the layer's input, `sum` what the attention made of it. */
  #forwardFrom(
    h: ArenaTensor,
    sum: ArenaTensor,
    ids_N: Int32Array,
    mode: Mode,
  ): Promise<MoeTrace | DenseTrace> {
    return this.#isParallel
      ? this.#feedForward.forward(h, ids_N, mode, sum)
      : this.#feedForward.forward(sum, ids_N, mode);
  }

  /** An empty cache for `rows` rows of at most `capacity` tokens. */
  openCache(rows: number, capacity: number): KeyValueCache {
    return this.#decoder.open(rows, capacity);
  }

  /** New tokens `ids_N` as `h` [N, hidden] through the layer; the cache holds what attention needs of earlier ones. */
  async decode(
    h: ArenaTensor,
    ids_N: Int32Array,
    tables: Tensors,
    spans: readonly RowSpan[],
    cache: KeyValueCache,
    mode: Mode,
  ): Promise<ArenaTensor> {
    const out = await this.#decoder.decode(h, tables, spans, cache);
    const feedForward = await this.#forwardFrom(h, out, ids_N, mode);
    return feedForward.out;
  }

  /**
   * Gradients of the layer. `dOut` holds the gradient of the layer's output; it is overwritten on the way.
   * @param lossGradient of auxiliary losses on this layer's routing; null: there are none.
   * @param dIn receives the gradient of the layer's input, unless nothing that trains needs it.
   */
  async backward(
    trace: LayerTrace,
    inputs: AttentionInputs,
    dOut: ArenaTensor,
    lossGradient: LayerRoutingGradient | null,
    dIn: ArenaTensor,
  ): Promise<void> {
    if (this.#isParallel) return this.#backwardParallel(trace, inputs, dOut, lossGradient, dIn);
    await this.#backwardFeedForward(trace, dOut, lossGradient);
    if (!this.#isLowest) await this.#attention.backward(trace.attention, inputs, dOut, dIn);
  }

  /** The gradient of what the feed-forward half read, into `dH` or in place. */
  async #backwardFeedForward(
    { feedForward }: LayerTrace,
    dOut: ArenaTensor,
    lossGradient: LayerRoutingGradient | null,
    dH = dOut,
  ): Promise<void> {
    if (feedForward.kind === 'moe' && this.#feedForward.kind === 'moe')
      await this.#feedForward.backward(feedForward, dOut, lossGradient, dH);
    else if (feedForward.kind === 'dense' && this.#feedForward.kind === 'dense')
      await this.#feedForward.backward(feedForward, dOut, dH);
    else invariant(false, 'a trace goes back through the layer it came from');
  }

  /** The gradient of the input is what comes through the attention, `h` itself included, and what comes through the other half. */
  async #backwardParallel(
    trace: LayerTrace,
    inputs: AttentionInputs,
    dOut: ArenaTensor,
    lossGradient: LayerRoutingGradient | null,
    dIn: ArenaTensor,
  ): Promise<void> {
    const { workspace, kernels } = this.#parts;
    await workspace.scratch(async () => {
      const dH = workspace.zeros(...dOut.shape);
      await this.#backwardFeedForward(trace, dOut, lossGradient, dH);
      if (this.#isLowest) return;
      await this.#attention.backward(trace.attention, inputs, dOut, dIn);
      kernels.axpy(dIn.offset, dH.offset, 1, dH.data.length);
    });
  }
}
