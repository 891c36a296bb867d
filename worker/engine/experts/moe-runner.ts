/** The feed-forward half of a MoE layer: router, dispatch, experts, shared expert, forward and backward. */
import { invariant } from '#core/contract/errors.ts';
import {
  readsBaseRouting,
  routingOf,
  type Choice,
  type LayerRoutingGradient,
  type Mode,
  type MoePlan,
} from '#worker/model/index.ts';
import type { TensorView, Tensors } from '#worker/runtime/index.ts';
import { dispatchTokens, type Dispatch } from './dispatch.ts';
import { ExpertsRunner, type ExpertsTrace } from './experts-runner.ts';
import type { LayerParts } from '../layer-parts.ts';
import type { LayerWeights } from '../weights/layer-weights.ts';
import { LocalExpertRunner } from './local-expert-runner.ts';
import { StandInRunner } from './stand-in-runner.ts';
import type { ArenaTensor } from '../workspace.ts';

/** What a MoE layer keeps for its backward pass. */
export interface MoeTrace extends ExpertsTrace {
  readonly kind: 'moe';
  readonly h: ArenaTensor;
  readonly x: ArenaTensor;
  readonly logits: ArenaTensor;
  /** Of the router itself, where the gate is a learned one; else `logits`. */
  readonly rawLogits: ArenaTensor;
  readonly scores: ArenaTensor;
  readonly weights: ArenaTensor;
  /** Null: the routing has no dense gate. */
  readonly denseWeights: ArenaTensor | null;
  /** What each expert gave on average; null: the method does not ask. */
  readonly meanOutput: ArenaTensor | null;
  readonly probabilities: ArenaTensor | null;
  /** Of the routers as they were; null: no loss reads them. */
  readonly baseProbabilities: ArenaTensor | null;
  readonly logSumExp: ArenaTensor | null;
  readonly choice: Choice;
  readonly dispatch: Dispatch;
  /** Projections of the shared expert; null: there is none. */
  readonly shared: Tensors | null;
  /** What all experts add up to, before its norm; null: it has none. */
  readonly mix: ArenaTensor | null;
  readonly out: ArenaTensor;
}

/** Runs the experts of decoder layer `index`, which is MoE layer `moeIndex`. */
export class MoeRunner {
  readonly kind = 'moe';
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #plan: MoePlan;
  readonly #index: number;
  readonly #moeIndex: number;
  readonly #experts: ExpertsRunner;
  readonly #standIns: StandInRunner;
  readonly #localExpert: LocalExpertRunner;
  readonly #hasOutputNorm: boolean;
  /** Neither the router nor anything before this half trains: gradients end at what the experts read. */
  readonly #isEnd: boolean;

  /** @param isLowest nothing before this half of the layer trains. */
  constructor(
    parts: LayerParts,
    weights: LayerWeights,
    plan: MoePlan,
    index: number,
    moeIndex: number,
    isLowest: boolean,
  ) {
    this.#parts = parts;
    this.#weights = weights;
    this.#plan = plan;
    this.#index = index;
    this.#moeIndex = moeIndex;
    this.#isEnd = isLowest && weights.use('router').trained.length === 0;
    this.#experts = new ExpertsRunner(parts, weights, plan, index, this.#isEnd);
    this.#standIns = new StandInRunner(parts, weights, plan, index, moeIndex);
    this.#localExpert = new LocalExpertRunner(parts, weights, plan.localExpert, index);
    this.#hasOutputNorm = parts.plan.layers[index]?.feedForwardOutputNorm !== undefined;
  }

  /** The method's routing buffers of this layer as graph inputs. */
  #buffers(mode: Mode, tokens: number): Record<string, TensorView> {
    const { session } = this.#parts;
    const { buffers, tokenBuffers = [] } = routingOf(session, mode);
    const view = (name: string, data: Float32Array, ...rows: readonly number[]): [string, TensorView] => [
      `buffer.${name}`,
      { dtype: 'float32', shape: [...rows, this.#plan.experts], data },
    ];
    return Object.fromEntries([
      ...buffers.map((name) => view(name, session.buffer(name, this.#moeIndex))),
      ...tokenBuffers.map((name) => {
        const data = session.tokenBuffer?.(name, this.#moeIndex, tokens);
        invariant(data !== undefined, `the method has no routing buffer ${name}`);
        return view(name, data, tokens);
      }),
    ]);
  }

  /**
   * Hidden state `h` [N, hidden] through the experts.
   * @param ids_N the token of each row; −1: it visits no expert.
   * @param base what the experts are added to, where that is not `h`.
   */
  async forward(h: ArenaTensor, ids_N: Int32Array, mode: Mode, base = h): Promise<MoeTrace> {
    const { programs, session, workspace } = this.#parts;
    const [tokens = 0, hidden = 0] = h.shape;
    const { experts } = this.#plan;
    const x = workspace.tensor(tokens, hidden);
    const logits = workspace.tensor(tokens, experts);
    const scores = workspace.tensor(tokens, experts);
    const withBase = mode === 'training' && readsBaseRouting(session);
    const baseProbabilities = withBase ? workspace.tensor(tokens, experts) : null;
    const router = await programs.of(mode).router(this.#index, this.#weights.dtypes(), mode, withBase);
    const routing = routingOf(session, mode);
    const rawLogits = this.#plan.learnedGate === undefined ? logits : workspace.tensor(tokens, experts);
    router.run(
      {
        h,
        ...this.#weights.views('router'),
        ...this.#weights.masks('router', mode, tokens),
        ...this.#buffers(mode, tokens),
      },
      {
        x,
        logits,
        scores,
        ...(rawLogits !== logits && { rawLogits }),
        ...(baseProbabilities && { baseProbabilities }),
      },
    );

    const choice = routing.choose(scores.data, ids_N, this.#moeIndex);
    const multiplicity = workspace.tensor(tokens, experts);
    const dispatch = dispatchTokens(choice, experts, ids_N, multiplicity.data);
    const weights = workspace.tensor(tokens, experts);
    const denseWeights = routing.dense === undefined ? null : workspace.tensor(tokens, experts);
    const withLosses = mode === 'training' && session.losses.length > 0;
    const probabilities = withLosses ? workspace.tensor(tokens, experts) : null;
    const logSumExp = withLosses ? workspace.tensor(tokens) : null;
    const gate = await programs.gate(this.#index, mode, withLosses);
    gate.run(
      { logits, multiplicity, ...this.#buffers(mode, tokens) },
      {
        weights,
        ...(denseWeights && { denseWeights }),
        ...(probabilities && { probabilities }),
        ...(logSumExp && { logSumExp }),
      },
    );

    const mix = this.#hasOutputNorm ? workspace.zeros(tokens, hidden) : null;
    const sum = mix ?? workspace.tensor(tokens, hidden);
    const shared = await this.#sharedForward(mix ?? base, x, sum, mode);
    if (shared === null && mix === null) sum.data.set(base.data);
    const trace = await this.#experts.forward(x, weights, denseWeights ?? weights, dispatch, sum, mode);
    const { dense } = routing;
    const meanOutput =
      dense !== undefined && denseWeights !== null
        ? await this.#standIns.forward(dense.standIn, { ...trace, x, denseWeights, dispatch }, sum, mode)
        : null;
    await this.#localExpert.forward(x, sum, mode);
    const out = mix === null ? sum : workspace.tensor(tokens, hidden);
    if (mix !== null) {
      const norm = await programs.outputNorm(this.#index, this.#weights.dtypes());
      norm.run({ h: base, mix, ...this.#weights.views('outputNorm') }, { out });
    }
    return {
      kind: 'moe',
      ...trace,
      h,
      x,
      logits,
      rawLogits,
      scores,
      weights,
      denseWeights,
      meanOutput,
      probabilities,
      baseProbabilities,
      logSumExp,
      choice,
      dispatch,
      shared,
      mix,
      out,
    };
  }

  /** Writes `base` and what the shared expert makes of `x` into `sum`. */
  async #sharedForward(
    base: ArenaTensor,
    x: ArenaTensor,
    sum: ArenaTensor,
    mode: Mode,
  ): Promise<Tensors | null> {
    const { shared } = this.#plan;
    if (shared === undefined) return null;
    const { programs, workspace } = this.#parts;
    const [tokens = 0] = x.shape;
    const saved = {
      gateProjection: workspace.tensor(tokens, shared.intermediate),
      upProjection: workspace.tensor(tokens, shared.intermediate),
    };
    const program = await programs.of(mode).shared(this.#index, this.#weights.dtypes());
    const masks = this.#weights.masks('shared', mode, tokens);
    program.run({ h: base, x, ...this.#weights.views('shared'), ...masks }, { out: sum, ...saved });
    return saved;
  }

  /**
   * Turns the gradient of the output in `dOut` into that of the input, in place, unless nothing that trains needs it.
   * @param lossGradient of auxiliary losses on this layer's routing; null: there are none.
   * @param dH what the gradient by way of the experts is added to, where that is not `dOut`, which then stays.
   */
  async backward(
    trace: MoeTrace,
    dOut: ArenaTensor,
    lossGradient: LayerRoutingGradient | null,
    dH = dOut,
  ): Promise<void> {
    const { programs, workspace } = this.#parts;
    const { x, logits, denseWeights, dispatch } = trace;
    const [tokens = 0] = x.shape;
    const { experts } = dispatch;
    await workspace.scratch(async () => {
      const dMix = await this.#outputNormBackward(trace, dOut);
      const dX = await this.#sharedBackward(trace, dMix);
      await this.#localExpert.backward(x, dMix, dX);
      if (this.#isEnd) {
        await this.#experts.backward(trace, dMix, null);
        return;
      }
      const dWeights = workspace.tensor(tokens, experts);
      await this.#experts.backward(trace, dMix, { dX, dWeights });
      const { dense } = this.#parts.session.routing;
      if (dense !== undefined && denseWeights !== null)
        await this.#standIns.backward(dense.standIn, { x, denseWeights, dispatch }, dMix, dWeights);

      lossGradient?.weights_NE?.forEach((more, at) => {
        dWeights.data[at] = (dWeights.data[at] as number) + more;
      });
      const dLogits = workspace.tensor(tokens, experts);
      const withLosses = trace.probabilities !== null;
      const lossGradients = withLosses
        ? {
            'd.probabilities': this.#lossGradient(lossGradient?.probabilities_NE, tokens, experts),
            'd.logSumExp': this.#lossGradient(lossGradient?.logSumExp_N, tokens),
          }
        : {};
      const gate = await programs.gateBackward(this.#index, withLosses);
      const multiplicity: TensorView = {
        dtype: 'float32',
        shape: [tokens, experts],
        data: dispatch.multiplicity_NE,
      };
      gate.run(
        {
          logits,
          multiplicity,
          ...this.#buffers('training', tokens),
          [denseWeights === null ? 'd.weights' : 'd.denseWeights']: dWeights,
          ...lossGradients,
        },
        { 'grad.logits': dLogits },
      );

      const use = this.#weights.use('router');
      const router = await programs.routerBackward(this.#index, use);
      const gradients = this.#weights.gradients(use);
      router.run(
        {
          h: trace.h,
          x,
          logits,
          ...this.#weights.views('router'),
          ...this.#weights.masks('router', 'training', tokens),
          ...this.#buffers('training', tokens),
          'd.x': dX,
          'd.logits': dLogits,
          'acc.grad.h': dH,
          ...gradients.feeds,
        },
        { 'grad.h': dH, ...gradients.fetches },
      );
    });
  }

  /** The gradient of what the experts add up to. */
  async #outputNormBackward(trace: MoeTrace, dOut: ArenaTensor): Promise<ArenaTensor> {
    if (trace.mix === null) return dOut;
    const use = this.#weights.use('outputNorm');
    const program = await this.#parts.programs.outputNormBackward(this.#index, use);
    const gradients = this.#weights.gradients(use);
    const dMix = this.#parts.workspace.tensor(...trace.mix.shape);
    program.run(
      { mix: trace.mix, h: trace.h, ...this.#weights.views('outputNorm'), 'd.out': dOut, ...gradients.feeds },
      { 'grad.mix': dMix, ...gradients.fetches },
    );
    return dMix;
  }

  /** The gradient of `x` by way of the shared expert; zeros without one, or where nothing needs it. */
  async #sharedBackward(trace: MoeTrace, dMix: ArenaTensor): Promise<ArenaTensor> {
    const { programs, workspace } = this.#parts;
    const use = this.#weights.use('shared');
    if (trace.shared === null || (this.#isEnd && use.trained.length === 0))
      return workspace.zeros(...trace.x.shape);
    const program = await programs.sharedBackward(this.#index, use);
    const gradients = this.#weights.gradients(use);
    const dX = workspace.tensor(...trace.x.shape);
    program.run(
      {
        x: trace.x,
        ...trace.shared,
        ...this.#weights.views('shared'),
        ...this.#weights.masks('shared', 'training', dX.shape[0] ?? 0),
        'd.out': dMix,
        ...gradients.feeds,
      },
      { 'grad.x': dX, ...gradients.fetches },
    );
    return dX;
  }

  #lossGradient(given: Float32Array | null | undefined, ...shape: readonly number[]): ArenaTensor {
    const tensor = this.#parts.workspace.zeros(...shape);
    if (given) tensor.data.set(given);
    return tensor;
  }
}
