/** One layer forward and backward: attention, router, dispatch, experts, combine. */
import { invariant } from '#core/contract/errors.ts';
import type { Kernels } from '#worker/kernels/index.ts';
import {
  attentionSaved,
  parameterId,
  type Choice,
  type DecoderPlan,
  type LayerPlan,
  type LayerRoutingGradient,
  type MethodSession,
  type ParameterRole,
} from '#worker/model/index.ts';
import type { TensorView, Tensors } from '#worker/runtime/index.ts';
import { dispatchTokens, gatherPairs, scatterPairs, type Dispatch } from './dispatch.ts';
import type { ParameterStore } from './parameter-store.ts';
import { stageRoles, type StagePrograms, type WeightUse } from './stage-programs.ts';
import type { ArenaTensor, Workspace } from './workspace.ts';

/** What attention reads beside the hidden state; the same for every layer. */
export interface AttentionInputs {
  readonly positions: TensorView;
  readonly cos: TensorView;
  readonly sin: TensorView;
  readonly mask: TensorView;
}

/** What a layer keeps for its backward pass. */
export interface LayerTrace {
  readonly h: ArenaTensor;
  readonly attention: Tensors;
  /** Hidden state between attention and experts. */
  readonly between: ArenaTensor;
  readonly x: ArenaTensor;
  readonly logits: ArenaTensor;
  readonly scores: ArenaTensor;
  readonly weights: ArenaTensor;
  readonly probabilities: ArenaTensor | null;
  readonly logSumExp: ArenaTensor | null;
  readonly choice: Choice;
  readonly dispatch: Dispatch;
  readonly pairWeights: ArenaTensor;
  readonly gateProjection: ArenaTensor;
  readonly upProjection: ArenaTensor;
  readonly out: ArenaTensor;
}

/** Everything a layer runs on. */
export interface LayerParts {
  readonly plan: DecoderPlan;
  readonly store: ParameterStore;
  readonly session: MethodSession;
  readonly programs: StagePrograms;
  readonly workspace: Workspace;
  readonly kernels: Kernels;
}

/** Runs decoder layer `index`, which is MoE layer `moeIndex`. */
export class LayerRunner {
  readonly #parts: LayerParts;
  readonly #layer: LayerPlan;
  readonly #index: number;
  readonly #moeIndex: number;
  readonly #weightViews = new Map<string | number, Tensors>();

  constructor(parts: LayerParts, index: number, moeIndex: number) {
    const layer = parts.plan.layers[index];
    invariant(layer !== undefined, `layer ${index} of ${parts.plan.layers.length}`);
    this.#parts = parts;
    this.#layer = layer;
    this.#index = index;
    this.#moeIndex = moeIndex;
  }

  #id(role: string, expert: number | null = null): string {
    return parameterId(role as ParameterRole, this.#index, expert);
  }

  /** The weights of a stage as graph inputs. Views never change, so they are looked up once. */
  #weights(stage: keyof typeof stageRoles, expert: number | null = null): Tensors {
    const key = expert ?? stage;
    const known = this.#weightViews.get(key);
    if (known !== undefined) return known;
    const { store } = this.#parts;
    const present = stageRoles[stage].filter((role) => store.has(this.#id(role, expert)));
    const views = Object.fromEntries(present.map((role) => [role, store.weight(this.#id(role, expert))]));
    this.#weightViews.set(key, views);
    return views;
  }

  #dtypes =
    (expert: number | null = null) =>
    (role: string) =>
      this.#parts.store.has(this.#id(role, expert))
        ? this.#parts.store.dtype(this.#id(role, expert))
        : 'float32';

  #use(roles: readonly string[], expert: number | null = null): WeightUse {
    return this.#parts.store.weightUse(roles, (role) => this.#id(role, expert));
  }

  /** The method's routing buffers of this layer as graph inputs. */
  #buffers(): Record<string, TensorView> {
    const { session } = this.#parts;
    return Object.fromEntries(
      session.routing.buffers.map((name): [string, TensorView] => {
        const data = session.buffer(name, this.#moeIndex);
        return [`buffer.${name}`, { dtype: 'float32', shape: [data.length], data }];
      }),
    );
  }

  /** Hidden state `h` [N, hidden] through the layer. @param include tokens with 0 here visit no expert. */
  async forward(
    h: ArenaTensor,
    inputs: AttentionInputs,
    include: Uint8Array,
    withLosses: boolean,
  ): Promise<LayerTrace> {
    const { plan, programs, session, workspace, kernels } = this.#parts;
    const { attention: attentionPlan, feedForward } = this.#layer;
    const tokens = include.length;
    const hidden = plan.hiddenSize;
    const { experts } = feedForward;
    const queryWidth = attentionPlan.heads * attentionPlan.headDim;
    const keyWidth = attentionPlan.keyValueHeads * attentionPlan.headDim;

    const widths = {
      queryProjection: queryWidth,
      keyProjection: keyWidth,
      valueProjection: keyWidth,
      context: queryWidth,
    };
    const attention = Object.fromEntries(
      attentionSaved.map((name) => [name, workspace.tensor(tokens, widths[name])]),
    );
    const between = workspace.tensor(tokens, hidden);
    const attentionProgram = await programs.attention(this.#index, this.#dtypes());
    attentionProgram.run({ ...inputs, h, ...this.#weights('attention') }, { ...attention, out: between });

    const x = workspace.tensor(tokens, hidden);
    const logits = workspace.tensor(tokens, experts);
    const scores = workspace.tensor(tokens, experts);
    const routerProgram = await programs.router(this.#index, this.#dtypes());
    routerProgram.run({ h: between, ...this.#weights('router'), ...this.#buffers() }, { x, logits, scores });

    const choice = session.routing.choose(scores.data, tokens, this.#moeIndex);
    const multiplicity = workspace.tensor(tokens, experts);
    const dispatch = dispatchTokens(choice, tokens, experts, include, multiplicity.data);
    const weights = workspace.tensor(tokens, experts);
    const probabilities = withLosses ? workspace.tensor(tokens, experts) : null;
    const logSumExp = withLosses ? workspace.tensor(tokens) : null;
    const gateProgram = await programs.gate(this.#index, withLosses);
    gateProgram.run(
      { logits, multiplicity, ...this.#buffers() },
      { weights, ...(probabilities && { probabilities }), ...(logSumExp && { logSumExp }) },
    );

    const pairs = dispatch.tokens.length;
    const pairWeights = workspace.tensor(pairs, 1);
    gatherPairs(dispatch, weights.data, pairWeights.data);
    const gateProjection = workspace.tensor(pairs, feedForward.intermediate);
    const upProjection = workspace.tensor(pairs, feedForward.intermediate);
    const out = workspace.tensor(tokens, hidden);
    await workspace.scratch(async () => {
      const sortedX = workspace.tensor(pairs, hidden);
      kernels.gatherRows(sortedX.offset, x.offset, dispatch.tokens, hidden, tokens);
      const y = workspace.tensor(pairs, hidden);
      for (let expert = 0; expert < experts; expert++) {
        const from = dispatch.offsets[expert] as number;
        const to = dispatch.offsets[expert + 1] as number;
        if (from === to) continue;
        const program = await programs.expert(this.#index, this.#dtypes(expert));
        const rows = (matrix: ArenaTensor) => workspace.rows(matrix, from, to);
        program.run(
          { x: rows(sortedX), weight: rows(pairWeights), ...this.#weights('expert', expert) },
          { y: rows(y), gateProjection: rows(gateProjection), upProjection: rows(upProjection) },
        );
      }
      out.data.set(between.data);
      kernels.addRows(out.offset, y.offset, dispatch.tokens, hidden, tokens);
    });
    return {
      h,
      attention,
      between,
      x,
      logits,
      scores,
      weights,
      probabilities,
      logSumExp,
      choice,
      dispatch,
      pairWeights,
      gateProjection,
      upProjection,
      out,
    };
  }

  /**
   * Gradients of the layer. `dOut` holds the gradient of the layer's output; it is overwritten on the way.
   * @param lossGradient of auxiliary losses on this layer's routing; null: there are none.
   * @param dIn receives the gradient of the layer's input.
   */
  async backward(
    trace: LayerTrace,
    inputs: AttentionInputs,
    dOut: ArenaTensor,
    lossGradient: LayerRoutingGradient | null,
    dIn: ArenaTensor,
  ): Promise<void> {
    const { programs, workspace } = this.#parts;
    const { x, logits, weights, dispatch } = trace;
    const [tokens = 0, hidden = 0] = x.shape;
    const { experts } = dispatch;
    await workspace.scratch(async () => {
      const dX = workspace.zeros(tokens, hidden);
      const dWeights = workspace.tensor(tokens, experts);
      await this.#expertsBackward(trace, dOut, dX, dWeights);

      const dLogits = workspace.tensor(tokens, experts);
      const withLosses = trace.probabilities !== null;
      const lossGradients = withLosses
        ? {
            'd.probabilities': this.#lossGradient(lossGradient?.probabilities_NE, tokens, experts),
            'd.logSumExp': this.#lossGradient(lossGradient?.logSumExp_N, tokens),
          }
        : {};
      const gateProgram = await programs.gateBackward(this.#index, withLosses);
      const multiplicity: TensorView = {
        dtype: 'float32',
        shape: [tokens, experts],
        data: dispatch.multiplicity_NE,
      };
      gateProgram.run(
        { logits, multiplicity, weights, ...this.#buffers(), 'd.weights': dWeights, ...lossGradients },
        { 'grad.logits': dLogits },
      );

      const use = this.#use(stageRoles.router);
      const routerProgram = await programs.routerBackward(this.#index, use);
      const gradients = this.#gradients(use, (role) => this.#id(role));
      routerProgram.run(
        {
          h: trace.between,
          x,
          logits,
          ...this.#weights('router'),
          ...this.#buffers(),
          'd.x': dX,
          'd.logits': dLogits,
          'acc.grad.h': dOut,
          ...gradients.feeds,
        },
        { 'grad.h': dOut, ...gradients.fetches },
      );
    });
    const use = this.#use(stageRoles.attention);
    const attentionProgram = await programs.attentionBackward(this.#index, use);
    const gradients = this.#gradients(use, (role) => this.#id(role));
    attentionProgram.run(
      {
        ...inputs,
        h: trace.h,
        ...trace.attention,
        ...this.#weights('attention'),
        'd.out': dOut,
        ...gradients.feeds,
      },
      { 'grad.h': dIn, ...gradients.fetches },
    );
  }

  async #expertsBackward(
    trace: LayerTrace,
    dOut: ArenaTensor,
    dX: ArenaTensor,
    dWeights: ArenaTensor,
  ): Promise<void> {
    const { programs, workspace, kernels } = this.#parts;
    const { dispatch, x } = trace;
    const [tokens = 0, hidden = 0] = x.shape;
    const pairs = dispatch.tokens.length;
    await workspace.scratch(async () => {
      const sortedX = workspace.tensor(pairs, hidden);
      kernels.gatherRows(sortedX.offset, x.offset, dispatch.tokens, hidden, tokens);
      const dY = workspace.tensor(pairs, hidden);
      kernels.gatherRows(dY.offset, dOut.offset, dispatch.tokens, hidden, tokens);
      const dSortedX = workspace.tensor(pairs, hidden);
      const dPairWeights = workspace.tensor(pairs, 1);
      for (let expert = 0; expert < dispatch.experts; expert++) {
        const from = dispatch.offsets[expert] as number;
        const to = dispatch.offsets[expert + 1] as number;
        if (from === to) continue;
        const use = this.#use(stageRoles.expert, expert);
        const program = await programs.expertBackward(this.#index, use);
        const rows = (matrix: ArenaTensor) => workspace.rows(matrix, from, to);
        const gradients = this.#gradients(use, (role) => this.#id(role, expert));
        program.run(
          {
            x: rows(sortedX),
            weight: rows(trace.pairWeights),
            gateProjection: rows(trace.gateProjection),
            upProjection: rows(trace.upProjection),
            ...this.#weights('expert', expert),
            'd.y': rows(dY),
            ...gradients.feeds,
          },
          { 'grad.x': rows(dSortedX), 'grad.weight': rows(dPairWeights), ...gradients.fetches },
        );
      }
      kernels.addRows(dX.offset, dSortedX.offset, dispatch.tokens, hidden, tokens);
      scatterPairs(dispatch, dPairWeights.data, dWeights.data);
    });
  }

  #gradients(use: WeightUse, id: (role: string) => string) {
    return this.#parts.store.gradientTensors(use, id);
  }

  #lossGradient(given: Float32Array | null | undefined, ...shape: readonly number[]): ArenaTensor {
    const tensor = this.#parts.workspace.zeros(...shape);
    if (given) tensor.data.set(given);
    return tensor;
  }
}
