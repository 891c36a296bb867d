/** A whole decoder forward and backward over micro-batches, stage by stage. */
import { invariant } from '#core/contract/errors.ts';
import type { Arena, Kernels } from '#worker/kernels/index.ts';
import {
  moeLayerIndices,
  parameterId,
  routerShapes,
  shapeOf,
  type Choice,
  type DecoderPlan,
  type LayerRoutingGradient,
  type LayerUsage,
  type MethodSession,
} from '#worker/model/index.ts';
import type { Runtime, Tensors } from '#worker/runtime/index.ts';
import { checkTokenIds, lossTargets, realTokenMask, type MicroBatch } from './batch.ts';
import type { AttentionInputs } from './attention-runner.ts';
import { InputTables } from './input-tables.ts';
import { LayerRunner, type LayerTrace } from './layer-runner.ts';
import type { MoeTrace } from './moe-runner.ts';
import type { ParameterStore } from './parameter-store.ts';
import { StagePrograms, stageRoles } from './stage-programs.ts';
import { layerRouting, layerUsage } from './usage.ts';
import { Workspace, type ArenaTensor } from './workspace.ts';

/** Elements of one chunk of logits: the head runs over as many tokens as fit. */
const LOGIT_CHUNK = 8_000_000;

/** One auxiliary loss of a micro-batch. */
export interface AuxiliaryValue {
  readonly name: string;
  /** Before its coefficient. */
  readonly value: number;
  /** What it adds to the loss of the step. */
  readonly weighted: number;
}

/** What a training micro-batch gives beside gradients. */
export interface MicroBatchResult {
  /** Sum of cross-entropies over trained tokens. */
  readonly lossSum: number;
  readonly trainedTokens: number;
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

/** Parts an executor is made of. */
export interface ExecutorParts {
  readonly plan: DecoderPlan;
  readonly store: ParameterStore;
  readonly session: MethodSession;
  readonly runtime: Runtime;
  readonly arena: Arena;
  readonly kernels: Kernels;
}

/** Runs one model under one method. Not re-entrant: one micro-batch at a time. */
export class Executor {
  readonly #parts: ExecutorParts;
  readonly #programs: StagePrograms;
  readonly #workspace: Workspace;
  readonly #layers: readonly LayerRunner[];
  readonly #tables: InputTables;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    this.#programs = new StagePrograms(parts.runtime, parts.plan, parts.session.routing);
    this.#workspace = new Workspace(parts.arena);
    this.#tables = new InputTables(this.#workspace);
    const layerParts = { ...parts, programs: this.#programs, workspace: this.#workspace };
    const moe = moeLayerIndices(parts.plan);
    this.#layers = parts.plan.layers.map(
      (_, index) => new LayerRunner(layerParts, index, moe.indexOf(index)),
    );
  }

  /**
   * Forward and backward of one micro-batch; gradients are added up in the store.
   * @param lossTokens trained tokens of the whole optimizer step: the loss is their mean.
   * @param microBatches micro-batches of the step, for auxiliary losses.
   */
  async train(batch: MicroBatch, lossTokens: number, microBatches: number): Promise<MicroBatchResult> {
    const { plan, session } = this.#parts;
    return this.#workspace.scratch(async () => {
      const withLosses = session.losses.length > 0;
      const { h, traces, moe, inputs, mask_N } = await this.#forward(batch, withLosses);
      const dA = this.#workspace.tensor(h.shape[0] ?? 0, plan.hiddenSize);
      const dB = this.#workspace.tensor(h.shape[0] ?? 0, plan.hiddenSize);
      const head = await this.#lossBackward(batch, h, dA, lossTokens);
      const { auxiliary, gradients } = this.#auxiliaryLosses(moe, mask_N, microBatches);
      let [dOut, dIn] = [dA, dB];
      for (let l = traces.length - 1; l >= 0; l--) {
        const trace = traces[l];
        const layer = this.#layers[l];
        invariant(trace !== undefined && layer !== undefined, `layer ${l} has a trace`);
        const lossGradient = gradients[moe.indexOf(trace.feedForward as MoeTrace)] ?? null;
        await layer.backward(trace, inputsOf(inputs, l), dOut, lossGradient, dIn);
        [dOut, dIn] = [dIn, dOut];
      }
      this.#embeddingBackward(batch, dOut);
      const usage = moe.map((trace) =>
        layerUsage(trace.choice, trace.scores.data, trace.weights.data, mask_N, trace.dispatch.experts),
      );
      return { ...head, auxiliary, usage };
    });
  }

  /** Sum of cross-entropies over the trained tokens of a batch. */
  async evaluate(batch: MicroBatch): Promise<{ readonly lossSum: number; readonly trainedTokens: number }> {
    return this.#workspace.scratch(async () => {
      const { h } = await this.#forward(batch, false);
      const { at, targets } = lossTargets(batch);
      const program = await this.#programs.loss(this.#headDtypes);
      let lossSum = 0;
      await this.#headChunks(at, (rows, from) => {
        const loss = this.#workspace.tensor(rows.length);
        const labels = this.#workspace.integers(targets.subarray(from, from + rows.length), rows.length);
        program.run({ h: this.#gather(h, rows), labels, ...this.#headWeights() }, { loss });
        lossSum += sum(loss.data);
      });
      return { lossSum, trainedTokens: at.length };
    });
  }

  /** Logits `[rows of `at`, vocabulary]` of the flat positions `at`, and the routing of every MoE layer. */
  async logits(
    batch: MicroBatch,
    at: Int32Array,
  ): Promise<{ readonly logits: Float32Array; readonly routing: readonly LayerRoutingView[] }> {
    const { plan } = this.#parts;
    return this.#workspace.scratch(async () => {
      const { h, moe } = await this.#forward(batch, false);
      const program = await this.#programs.logits(this.#headDtypes);
      const logits = new Float32Array(at.length * plan.vocabularySize);
      await this.#headChunks(at, (rows, from) => {
        const chunk = this.#workspace.tensor(rows.length, plan.vocabularySize);
        program.run({ h: this.#gather(h, rows), ...this.#headWeights() }, { logits: chunk });
        logits.set(chunk.data, from * plan.vocabularySize);
      });
      const routing = moe.map((trace) => ({
        logits_NE: trace.logits.data.slice(),
        weights_NE: trace.weights.data.slice(),
        choice: trace.choice,
      }));
      return { logits, routing };
    });
  }

  async #forward(batch: MicroBatch, withLosses: boolean) {
    const { plan, session } = this.#parts;
    checkTokenIds(batch, plan.vocabularySize);
    const mask_N = realTokenMask(batch);
    const include = session.readsPadding ? new Uint8Array(mask_N.length).fill(1) : mask_N;
    const inputs = this.#tables.ofLayers(plan, batch);
    let h = this.#embed(batch);
    const traces: LayerTrace[] = [];
    for (const [index, layer] of this.#layers.entries()) {
      const trace = await layer.forward(h, inputsOf(inputs, index), include, withLosses);
      traces.push(trace);
      h = trace.feedForward.out;
    }
    return { h, traces, moe: moeTraces(traces), inputs, mask_N };
  }

  #embed(batch: MicroBatch): ArenaTensor {
    const { store, kernels, plan } = this.#parts;
    const width = plan.hiddenSize;
    const h = this.#workspace.tensor(batch.inputIds.length, width);
    // All weights lie in the arena, so that a view says where.
    const { dtype, data } = store.weight('embedding');
    if (dtype === 'float32') {
      kernels.gatherRows(h.offset, data.byteOffset, batch.inputIds, width, plan.vocabularySize);
    } else {
      batch.inputIds.forEach((id, token) => {
        const target = h.offset + token * width * 4;
        const row = data.byteOffset + id * width * 2;
        if (dtype === 'bfloat16') kernels.bf16ToF32(target, row, width);
        else kernels.f16ToF32(target, row, width);
      });
    }
    if (plan.embeddingScale !== undefined) kernels.scale(h.offset, h.data.length, plan.embeddingScale);
    return h;
  }

  /** The padding row gets no gradient from the look-up, as in the reference implementations. */
  #embeddingBackward(batch: MicroBatch, dH: ArenaTensor): void {
    const { store, kernels, plan } = this.#parts;
    if (!store.isTrained('embedding')) return;
    const { offset } = store.addableGradient('embedding');
    const width = plan.hiddenSize;
    batch.inputIds.forEach((id, token) => {
      if (id === plan.paddingId) return;
      kernels.axpy(offset + id * width * 4, dH.offset + token * width * 4, plan.embeddingScale ?? 1, width);
    });
  }

  get #headId(): string {
    return this.#parts.plan.tiedHead ? 'embedding' : parameterId('head', null, null);
  }

  readonly #headIdOf = (role: string): string => (role === 'head' ? this.#headId : role);

  readonly #headDtypes = (role: string) => this.#parts.store.dtype(this.#headIdOf(role));

  #headWeights(): Tensors {
    return Object.fromEntries(
      stageRoles.head.map((role) => [role, this.#parts.store.weight(this.#headIdOf(role))]),
    );
  }

  /** Calls `work` for runs of positions whose logits fit in a chunk; what it allocates is taken back after each. */
  async #headChunks(
    at: Int32Array,
    work: (rows: Int32Array, from: number) => Promise<void> | void,
  ): Promise<void> {
    const size = Math.max(16, Math.floor(LOGIT_CHUNK / this.#parts.plan.vocabularySize));
    for (let from = 0; from < at.length; from += size) {
      await this.#workspace.scratch(async () => work(at.subarray(from, from + size), from));
    }
  }

  #gather(h: ArenaTensor, rows: Int32Array): ArenaTensor {
    const width = this.#parts.plan.hiddenSize;
    const out = this.#workspace.tensor(rows.length, width);
    this.#parts.kernels.gatherRows(out.offset, h.offset, rows, width, h.shape[0] ?? 0);
    return out;
  }

  /** Loss of the trained positions; fills `dH` with its gradient. Positions without a target cost nothing. */
  async #lossBackward(batch: MicroBatch, h: ArenaTensor, dH: ArenaTensor, lossTokens: number) {
    const { store, plan, kernels } = this.#parts;
    const width = plan.hiddenSize;
    const { at, targets } = lossTargets(batch);
    dH.data.fill(0);
    let lossSum = 0;
    await this.#headChunks(at, async (rows, from) => {
      const use = store.weightUse(stageRoles.head, this.#headIdOf);
      const program = await this.#programs.lossBackward(use);
      const gradients = store.gradientTensors(use, this.#headIdOf);
      const loss = this.#workspace.tensor(rows.length);
      const dLoss = this.#workspace.tensor(rows.length);
      dLoss.data.fill(1 / lossTokens);
      const dRows = this.#workspace.tensor(rows.length, width);
      const labels = this.#workspace.integers(targets.subarray(from, from + rows.length), rows.length);
      program.run(
        { h: this.#gather(h, rows), labels, ...this.#headWeights(), 'd.loss': dLoss, ...gradients.feeds },
        { loss, 'grad.h': dRows, ...gradients.fetches },
      );
      kernels.addRows(dH.offset, dRows.offset, rows, width, h.shape[0] ?? 0);
      lossSum += sum(loss.data);
    });
    return { lossSum, trainedTokens: at.length };
  }

  /** Values of the auxiliary losses, and their gradients for each MoE layer, scaled by coefficient and accumulation. */
  #auxiliaryLosses(traces: readonly MoeTrace[], mask_N: Uint8Array, microBatches: number) {
    const { session } = this.#parts;
    const shapes = routerShapes(this.#parts.plan);
    const gradients: (LayerRoutingGradient | null)[] = traces.map(() => null);
    if (session.losses.length === 0) return { auxiliary: [], gradients };
    const layers = traces.map((trace, index) => {
      const { probabilities, logSumExp, dispatch } = trace;
      invariant(probabilities !== null && logSumExp !== null, 'auxiliary losses keep their inputs');
      const k = shapeOf(shapes, index).expertsPerToken;
      return layerRouting(probabilities.data, logSumExp.data, mask_N, dispatch.experts, k);
    });
    const auxiliary = session.losses.map((loss) => {
      const { value, gradients: own } = loss.evaluate(layers);
      const scale = loss.coefficient / (loss.accumulation === 'mean' ? microBatches : 1);
      own.forEach((gradient, index) => {
        gradients[index] = {
          probabilities_NE: addScaled(gradients[index]?.probabilities_NE, gradient.probabilities_NE, scale),
          logSumExp_N: addScaled(gradients[index]?.logSumExp_N, gradient.logSumExp_N, scale),
        };
      });
      return { name: loss.name, value, weighted: value * scale };
    });
    return { auxiliary, gradients };
  }
}

function moeTraces(traces: readonly LayerTrace[]): MoeTrace[] {
  return traces.flatMap(({ feedForward }) => (feedForward.kind === 'moe' ? [feedForward] : []));
}

function inputsOf(inputs: readonly AttentionInputs[], layer: number): AttentionInputs {
  const own = inputs[layer];
  invariant(own !== undefined, `layer ${layer} has inputs`);
  return own;
}

function sum(values: Float32Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function addScaled(
  sofar: Float32Array | null | undefined,
  more: Float32Array | null,
  scale: number,
): Float32Array | null {
  if (more === null) return sofar ?? null;
  return more.map((value, i) => (sofar?.[i] ?? 0) + value * scale);
}
