/** A whole decoder forward and backward over micro-batches, stage by stage. */
import { invariant } from '#core/contract/errors.ts';
import type { Arena, Kernels } from '#worker/kernels/index.ts';
import {
  moeLayerIndices,
  routerShapes,
  shapeOf,
  type Choice,
  type DecoderPlan,
  type LayerRouting,
  type LayerUsage,
  type MethodSession,
  type Mode,
} from '#worker/model/index.ts';
import type { Runtime } from '#worker/runtime/index.ts';
import { AdapterDropout, type BatchPlace } from './adapter-dropout.ts';
import { auxiliaryLosses, type AuxiliaryValue } from './auxiliary-losses.ts';
import { checkTokenIds, lossTargets, realTokenIds, realTokenMask, type MicroBatch } from './batch.ts';
import { Decoder } from './decoder.ts';
import { EmbeddingRunner } from './embedding-runner.ts';
import { ExpertProbe } from './experts/expert-probe.ts';
import { HeadRunner, type LossSum } from './head/head-runner.ts';
import { InputTables } from './attention/input-tables.ts';
import { LayerRunner, type LayerTrace } from './layer-runner.ts';
import { LayerStack, type Pass, type ReadLayer } from './layer-stack.ts';
import type { MoeTrace } from './experts/moe-runner.ts';
import { OutputMixture, gateFeatures, mixLosses, mixRows } from './experts/output-mixture.ts';
import type { ParameterStore } from './weights/parameter-store.ts';
import { StagePrograms } from './stages/stage-programs.ts';
import { DistillationLoss, TokenRouterRunner } from './experts/token-router-runner.ts';
import { routingOf, usageOf } from './experts/usage.ts';
import { Workspace, type ArenaTensor } from './workspace.ts';

/** What a training micro-batch gives beside gradients. */
export interface MicroBatchResult extends LossSum {
  readonly auxiliary: readonly AuxiliaryValue[];
  /** One for each MoE layer. */
  readonly usage: readonly LayerUsage[];
}

/** Routing of one layer as parity checks and the playground read it. */
export interface LayerRoutingView {
  readonly logits_NE: Float32Array;
  readonly weights_NE: Float32Array;
  readonly choice: Choice;
}

/** What one MoE layer does with a batch; it lasts until whoever is shown it returns. */
export interface MoeView {
  readonly trace: MoeTrace;
  /** Output `[rows × hidden]` of any expert on any tokens: as the layer adds it, but for the gate weight. */
  readonly outputs: (expert: number, tokens: Int32Array) => Promise<Float32Array>;
}

/** Parts an executor is made of. */
export interface ExecutorParts {
  readonly plan: DecoderPlan;
  readonly store: ParameterStore;
  readonly session: MethodSession;
  readonly runtime: Runtime;
  readonly arena: Arena;
  readonly kernels: Kernels;
  /**
   * So many of the first layers keep only their input for the backward pass, and are computed again there; the results are
   * the same to the bit. 0 when absent.
   */
  readonly recomputedLayers?: number;
  /** Seed of the run, which dropout of adapters draws by; 0 when absent. */
  readonly seed?: number;
}

/** What the model without its local experts makes of the trained positions of a micro-batch. */
interface BaseTargets {
  /** How much each counts in the loss; null: all alike. */
  readonly weights: Float32Array | null;
  /** For mixed outputs: cross-entropies, and what the gate reads; null: outputs are not mixed. */
  readonly mixed: { readonly losses: Float32Array; readonly features: Float32Array } | null;
}

/** Runs one model under one method. Not re-entrant: one micro-batch at a time. */
export class Executor {
  readonly #parts: ExecutorParts;
  readonly #workspace: Workspace;
  readonly #embedding: EmbeddingRunner;
  readonly #layers: readonly LayerRunner[];
  readonly #stack: LayerStack;
  readonly #head: HeadRunner;
  /** One for each decoder layer. */
  readonly #probes: readonly ExpertProbe[];
  readonly #tokenRouters: readonly TokenRouterRunner[];
  readonly #tables: InputTables;
  readonly #mixture: OutputMixture | null;
  readonly #dropout: AdapterDropout | null;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    this.#workspace = new Workspace(parts.arena);
    this.#tables = new InputTables(this.#workspace);
    const programs = new StagePrograms(parts.runtime, parts.plan, parts.session);
    this.#dropout = AdapterDropout.of(parts.session.adapters ?? null, parts.seed ?? 0);
    const stageParts = { ...parts, programs, workspace: this.#workspace, dropout: this.#dropout };
    const moe = moeLayerIndices(parts.plan);
    this.#embedding = new EmbeddingRunner(stageParts);
    this.#layers = parts.plan.layers.map(
      (_, index) => new LayerRunner(stageParts, index, moe.indexOf(index)),
    );
    this.#stack = new LayerStack(stageParts, this.#embedding, this.#layers, parts.recomputedLayers ?? 0);
    this.#head = new HeadRunner(stageParts);
    this.#mixture = OutputMixture.of(parts.plan, parts.store);
    this.#probes = parts.plan.layers.map((_, index) => new ExpertProbe(stageParts, index));
    this.#tokenRouters = parts.plan.layers.map((_, index) => new TokenRouterRunner(stageParts, index));
  }

  /**
   * Forward and backward of one micro-batch; gradients are added up in the store.
   * @param lossTokens trained tokens of the whole optimizer step: the loss is their mean.
   * @param microBatches micro-batches of the step, for auxiliary losses.
   * @param place what dropout of adapters draws by; absent: the first micro-batch of a run.
   */
  async train(
    batch: MicroBatch,
    lossTokens: number,
    microBatches: number,
    place: BatchPlace = { step: 0, microBatch: 0 },
  ): Promise<MicroBatchResult> {
    this.#dropout?.moveTo(place);
    const { plan, session } = this.#parts;
    const losses = session.losses.filter(({ general }) => general === undefined);
    const distillation = DistillationLoss.of(session, moeLayerIndices(plan).length, microBatches);
    return this.#workspace.scratch(async () => {
      const base = await this.#baseTargets(batch, session.wrongTokenGain ?? 0);
      const pass = this.#begin(batch);
      const usage: LayerUsage[] = [];
      const routing: LayerRouting[] = [];
      const { h, kept } = await this.#stack.forward(pass, async ({ feedForward }, index) => {
        if (feedForward.kind !== 'moe') return;
        if (losses.length > 0) routing.push(routingOf(feedForward, pass, this.#k(routing.length)));
        const own = usageOf(feedForward, pass);
        usage.push(own);
        await distillation?.learn(entry(this.#tokenRouters, index), own);
      });
      const dOut = this.#workspace.tensor(...h.shape);
      const mixed =
        base.mixed && this.#mixedTargets(await this.#head.losses(batch, h), base, 'training', 1 / lossTokens);
      const weights = mixed?.weights ?? base.weights;
      const loss = await this.#head.lossBackward(batch, h, dOut, lossTokens, weights);
      const { auxiliary, gradients } = auxiliaryLosses(losses, routing, microBatches);
      await this.#stack.backward(pass, kept, dOut, gradients);
      return {
        ...loss,
        ...(mixed && { lossSum: mixed.lossSum }),
        auxiliary: [...auxiliary, ...(distillation === null ? [] : [distillation.value])],
        usage,
      };
    });
  }

  /**
   * Forward and backward of general data, on which only the losses count that are taken there; gradients are added up in the
   * store.
   * @param base_L routing probabilities of the untouched model, `[tokens × experts]` for each MoE layer.
   * @param place as in `train`.
   */
  async trainGeneral(
    batch: MicroBatch,
    base_L: readonly Float32Array[],
    place: BatchPlace,
  ): Promise<readonly AuxiliaryValue[]> {
    this.#dropout?.moveTo(place);
    const losses = this.#parts.session.losses.filter(({ general }) => general !== undefined);
    return this.#workspace.scratch(async () => {
      const pass = this.#begin(batch);
      const routing: LayerRouting[] = [];
      const { h, kept } = await this.#stack.forward(pass, ({ feedForward }) => {
        if (feedForward.kind !== 'moe') return;
        const baseProbabilities_NE = entry(base_L, routing.length);
        routing.push({ ...routingOf(feedForward, pass, this.#k(routing.length)), baseProbabilities_NE });
      });
      const { auxiliary, gradients } = auxiliaryLosses(losses, routing, 1);
      await this.#stack.backward(pass, kept, this.#workspace.zeros(...h.shape), gradients);
      return auxiliary;
    });
  }

  /** Scores as distributions, as auxiliary losses look at them: `[tokens × experts]` of each MoE layer. */
  async routingProbabilities(batch: MicroBatch): Promise<Float32Array[]> {
    return this.#workspace.scratch(async () => {
      const ofLayers: Float32Array[] = [];
      const read = ({ feedForward }: LayerTrace) => {
        if (feedForward.kind !== 'moe') return;
        invariant(feedForward.probabilities !== null, 'the session has auxiliary losses');
        ofLayers.push(feedForward.probabilities.data.slice());
      };
      await this.#through(batch, read, 'training');
      return ofLayers;
    });
  }

  /** Sum of cross-entropies over the trained tokens of a batch. */
  async evaluate(batch: MicroBatch): Promise<LossSum> {
    const losses = await this.tokenLosses(batch, 'inference');
    const base = await this.#baseTargets(batch, 0);
    const { lossSum } = this.#mixedTargets(losses, base, 'inference') ?? { lossSum: sum(losses) };
    return { lossSum, trainedTokens: losses.length };
  }

  /** Cross-entropy of each trained token of a batch, as layers compute it in `mode`: outputs are not mixed. */
  async tokenLosses(batch: MicroBatch, mode: Mode): Promise<Float32Array> {
    return this.#workspace.scratch(async () => {
      const h = await this.#through(batch, () => undefined, mode);
      return this.#head.losses(batch, h);
    });
  }

  /**
   * What gates of local experts read in the base at the flat positions `at`, `[rows of `at`, hidden]`: that of each MoE layer, or
   * the one of mixed outputs.
   */
  async gateInputs(batch: MicroBatch, at: Int32Array): Promise<Float32Array[]> {
    return this.#workspace.scratch(async () => {
      const ofLayers: Float32Array[] = [];
      const read = async ({ feedForward }: LayerTrace) => {
        if (feedForward.kind === 'moe') ofLayers.push(await this.#head.rows(feedForward.x, at));
      };
      const h = await this.#through(batch, this.#mixture === null ? read : () => undefined, 'base');
      if (this.#mixture === null) return ofLayers;
      return [gateFeatures(await this.#head.rows(h, at), this.#parts.plan.hiddenSize)];
    });
  }

  /**
   * Logits `[rows of `at`, vocabulary]` of the flat positions `at`, of mixed outputs the logarithms of probabilities, and the
   * routing of every MoE layer.
   */
  async logits(
    batch: MicroBatch,
    at: Int32Array,
  ): Promise<{ readonly logits: Float32Array; readonly routing: readonly LayerRoutingView[] }> {
    return this.#workspace.scratch(async () => {
      const routing: LayerRoutingView[] = [];
      const h = await this.#through(batch, ({ feedForward }) => {
        if (feedForward.kind !== 'moe') return;
        const { rawLogits, weights, choice } = feedForward;
        routing.push({ logits_NE: rawLogits.data.slice(), weights_NE: weights.data.slice(), choice });
      });
      const logits = await this.#head.logits(h, at);
      if (this.#mixture !== null && at.length > 0) await this.#mixLogits(this.#mixture, batch, at, logits);
      return { logits, routing };
    });
  }

  async #mixLogits(mixture: OutputMixture, batch: MicroBatch, at: Int32Array, logits: Float32Array) {
    await this.#workspace.scratch(async () => {
      const h = await this.#through(batch, () => undefined, 'base');
      const features = gateFeatures(await this.#head.rows(h, at), this.#parts.plan.hiddenSize);
      mixRows(mixture.shares(features, 'inference'), await this.#head.logits(h, at), logits);
    });
  }

  /** Shows what each MoE layer does with a batch, in order, as when the model is used. */
  async observe(
    batch: MicroBatch,
    show: (view: MoeView, moeIndex: number) => Promise<void> | void,
    mode: Mode = 'inference',
  ): Promise<void> {
    await this.#workspace.scratch(async () => {
      let moeIndex = 0;
      await this.#through(
        batch,
        async ({ feedForward }, index) => {
          if (feedForward.kind !== 'moe') return;
          const probe = entry(this.#probes, index);
          const outputs = (expert: number, tokens: Int32Array) =>
            probe.outputs(feedForward.x, expert, tokens);
          await show({ trace: feedForward, outputs }, moeIndex++);
        },
        mode,
      );
    });
  }

  /** Calls `work` with a decoder of `rows` rows, which may grow to `capacity` tokens each. */
  async decode<T>(rows: number, capacity: number, work: (decoder: Decoder) => Promise<T>): Promise<T> {
    return this.#workspace.scratch(async () => {
      const parts = {
        plan: this.#parts.plan,
        workspace: this.#workspace,
        tables: this.#tables,
        embedding: this.#embedding,
        layers: this.#layers,
        head: this.#head,
        mixture: this.#mixture,
      };
      return work(new Decoder(parts, rows, capacity));
    });
  }

  /** What the model without local experts makes of the trained positions, as far as it is asked. */
  async #baseTargets(batch: MicroBatch, wrongTokenGain: number): Promise<BaseTargets> {
    if (wrongTokenGain === 0 && this.#mixture === null) return { weights: null, mixed: null };
    const { at, targets } = lossTargets(batch);
    return this.#workspace.scratch(async () => {
      const h = await this.#through(batch, () => undefined, 'base');
      const predicted = wrongTokenGain === 0 ? null : await this.#head.predictions(h, at);
      const weigh = (target: number, i: number) => (predicted?.[i] === target ? 1 : 1 + wrongTokenGain);
      return {
        weights: predicted && Float32Array.from(targets, weigh),
        mixed: this.#mixture && {
          losses: await this.#head.losses(batch, h),
          features: gateFeatures(await this.#head.rows(h, at), this.#parts.plan.hiddenSize),
        },
      };
    });
  }

  /**
   * The loss of mixed outputs, and how much the cross-entropies `losses` of local experts count in its gradient; null: outputs
   * are not mixed.
   * @param scale multiplies the gradient of the gate, which is added up in the store; absent: there is none.
   */
  #mixedTargets(losses: Float32Array, { weights, mixed }: BaseTargets, mode: Mode, scale?: number) {
    const mixture = this.#mixture;
    if (mixture === null || mixed === null) return null;
    const shares = mixture.shares(mixed.features, mode);
    const dLogits = new Float32Array(losses.length);
    let lossSum = 0;
    const counts = losses.map((own, i) => {
      const share = shares[i] as number;
      const weight = weights?.[i] ?? 1;
      const { loss, local } = mixLosses(share, mixed.losses[i] as number, own);
      lossSum += weight * loss;
      dLogits[i] = weight * (share - local) * (scale ?? 0);
      return weight * local;
    });
    if (scale !== undefined) mixture.addGradients(mixed.features, dLogits);
    return { lossSum, weights: counts };
  }

  #begin(batch: MicroBatch): Pass {
    const { plan, session } = this.#parts;
    checkTokenIds(batch, plan.vocabularySize);
    const mask_N = realTokenMask(batch);
    const readsPadding = session.readsPadding || session.losses.some((loss) => loss.readsPadding);
    const ids_N = readsPadding ? batch.inputIds : realTokenIds(batch, mask_N);
    return { batch, inputs: this.#tables.ofLayers(plan, batch), mask_N, ids_N };
  }

  /** Experts that the router of a MoE layer chooses for a token. */
  #k(moeIndex: number): number {
    return shapeOf(routerShapes(this.#parts.plan), moeIndex).expertsPerToken;
  }

  /** The last hidden state of a batch that is not trained on: no layer keeps anything once `read` has seen it. */
  async #through(batch: MicroBatch, read: ReadLayer, mode: Mode = 'inference'): Promise<ArenaTensor> {
    return this.#stack.through(this.#begin(batch), mode, read);
  }
}

function sum(values: Float32Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function entry<T>(list: readonly T[], index: number): T {
  const found = list[index];
  invariant(found !== undefined, `entry ${index} of ${list.length}`);
  return found;
}
