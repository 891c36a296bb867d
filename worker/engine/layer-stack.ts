/** All layers of a decoder forward and backward over a micro-batch, from token ids to the last hidden state. */
import { invariant } from '#core/contract/errors.ts';
import { moeLayerIndices, type LayerRoutingGradient, type Mode } from '#worker/model/index.ts';
import type { AttentionInputs } from './attention/attention-runner.ts';
import type { MicroBatch } from './batch.ts';
import type { EmbeddingRunner } from './embedding-runner.ts';
import type { LayerParts } from './layer-parts.ts';
import type { LayerRunner, LayerTrace } from './layer-runner.ts';
import type { ArenaTensor } from './workspace.ts';

/** A micro-batch on its way through the layers. */
export interface Pass {
  readonly batch: MicroBatch;
  readonly inputs: readonly AttentionInputs[];
  /** 1 for a real token, 0 for padding. */
  readonly mask_N: Uint8Array;
  /** The token of each row; −1: it visits no expert. */
  readonly ids_N: Int32Array;
}

/** Looks at what a layer did before it is forgotten. */
export type ReadLayer = (trace: LayerTrace, index: number) => Promise<void> | void;

/** What the backward pass of a layer starts from: its input, and what it did; null: it is computed again. */
interface Kept {
  readonly h: ArenaTensor;
  readonly trace: LayerTrace | null;
}

/** Runs the layers. What they allocate is the caller's to take back. */
export class LayerStack {
  readonly #parts: Pick<LayerParts, 'plan' | 'store' | 'workspace'>;
  readonly #embedding: EmbeddingRunner;
  readonly #layers: readonly LayerRunner[];
  readonly #recomputedLayers: number;

  /** @param recomputedLayers so many of the first layers keep only their input, and are computed again. */
  constructor(
    parts: Pick<LayerParts, 'plan' | 'store' | 'workspace'>,
    embedding: EmbeddingRunner,
    layers: readonly LayerRunner[],
    recomputedLayers: number,
  ) {
    this.#parts = parts;
    this.#embedding = embedding;
    this.#layers = layers;
    this.#recomputedLayers = recomputedLayers;
  }

  /** The last hidden state where nothing follows: no layer keeps anything once `read` has seen it. */
  async through(pass: Pass, mode: Mode, read: ReadLayer): Promise<ArenaTensor> {
    let h = this.#embedding.forward(pass.batch);
    for (const index of this.#layers.keys()) h = await this.#released(index, h, pass, mode, read);
    return h;
  }

  /** The last hidden state in training, and what `backward` starts from. */
  async forward(pass: Pass, read: ReadLayer): Promise<{ h: ArenaTensor; kept: readonly Kept[] }> {
    let h = this.#embedding.forward(pass.batch);
    const kept: Kept[] = [];
    for (const index of this.#layers.keys()) {
      const input = h;
      let trace: LayerTrace | null = null;
      if (index < this.#recomputedLayers) {
        h = await this.#released(index, input, pass, 'training', read);
      } else {
        trace = await this.#layer(index, input, pass, 'training');
        await read(trace, index);
        h = trace.feedForward.out;
      }
      kept.push({ h: input, trace });
    }
    return { h, kept };
  }

  /**
   * Gradients of everything below the last hidden state. `dOut` holds that of the state; it is overwritten on the way.
   * @param lossGradients of auxiliary losses, for each MoE layer; empty: there are none.
   */
  async backward(
    pass: Pass,
    kept: readonly Kept[],
    dOut: ArenaTensor,
    lossGradients: readonly (LayerRoutingGradient | null)[],
  ): Promise<void> {
    const { plan, store, workspace } = this.#parts;
    let dH = dOut;
    let dIn = workspace.tensor(...dOut.shape);
    let moeIndex = moeLayerIndices(plan).length;
    for (const [index, layer] of [...this.#layers.entries()].reverse()) {
      if (!store.trainsBefore(index + 1)) break;
      const { h: input, trace } = entry(kept, index);
      const hasExperts = plan.layers[index]?.feedForward.kind === 'moe';
      const lossGradient = (hasExperts ? lossGradients[--moeIndex] : null) ?? null;
      await workspace.scratch(async () => {
        const own = trace ?? (await this.#layer(index, input, pass, 'training'));
        await layer.backward(own, entry(pass.inputs, index), dH, lossGradient, dIn);
      });
      [dH, dIn] = [dIn, dH];
    }
    this.#embedding.backward(pass.batch, dH);
  }

  #layer(index: number, h: ArenaTensor, pass: Pass, mode: Mode): Promise<LayerTrace> {
    return entry(this.#layers, index).forward(h, entry(pass.inputs, index), pass.ids_N, mode);
  }

  /** The output of a layer of which nothing else stays in memory once `read` has seen it. */
  async #released(
    index: number,
    h: ArenaTensor,
    pass: Pass,
    mode: Mode,
    read: ReadLayer,
  ): Promise<ArenaTensor> {
    const { workspace } = this.#parts;
    const out = workspace.tensor(...h.shape);
    await workspace.scratch(async () => {
      const trace = await this.#layer(index, h, pass, mode);
      await read(trace, index);
      out.data.set(trace.feedForward.out.data);
    });
    return out;
  }
}

function entry<T>(list: readonly T[], index: number): T {
  const found = list[index];
  invariant(found !== undefined, `entry ${index} of ${list.length}`);
  return found;
}
