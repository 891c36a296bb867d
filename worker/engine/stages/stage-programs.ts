/** Stage graphs, compiled once and reused for every layer and expert that has the same shape. */
import { invariant } from '#core/contract/errors.ts';
import { accumulate, gradient, joinRows, type Graph } from '#worker/graph/index.ts';
import {
  denseStage,
  expertGroupStage,
  expertStage,
  gatedMlpSaved,
  gateStage,
  localExpertStage,
  meanOutputStage,
  outputNormStage,
  routerStage,
  routingOf,
  sharedStage,
  standInStage,
  tokenRouterStage,
  type AdapterPlan,
  type DecoderPlan,
  type LayerPlan,
  type LocalExpertPlan,
  type MethodSession,
  type Mode,
  type MoePlan,
  type Routings,
  type WeightDtypes,
  hasDropout,
  withoutDropout,
} from '#worker/model/index.ts';
import type { Runtime } from '#worker/runtime/index.ts';
import { AttentionPrograms } from '../attention/attention-programs.ts';
import { HeadPrograms } from '../head/head-programs.ts';
import {
  ProgramCache,
  backward,
  numberEqual,
  typesOf,
  useKey,
  type StageProgram,
  type WeightUse,
} from './stage-program.ts';
import { stageRoles as roles } from './stage-roles.ts';

/** What of a layer its feed-forward half does not depend on. */
const attentionFields: ReadonlySet<string> = new Set<keyof LayerPlan>([
  'attention',
  'inputNorm',
  'attentionOutputNorm',
]);

function feedForwardShape(layer: LayerPlan): string {
  const own = Object.entries(layer).filter(([name]) => !attentionFields.has(name));
  // Widths that differ from expert to expert are open in graphs.
  const open = (name: string, value: unknown) => (name === 'widths' ? 'open' : value);
  return JSON.stringify(
    own.sort(([a], [b]) => (a < b ? -1 : 1)),
    open,
  );
}

/** The routings of a session, as its losses look at them. */
function routingsOf({ routing, inferenceRouting, losses }: MethodSession): Routings {
  const seen = losses.some((loss) => loss.readsSoftmax)
    ? ({ ...routing, lossScoring: 'softmax' } as const)
    : routing;
  return inferenceRouting === undefined ? { routing: seen } : { routing: seen, inferenceRouting };
}

/** The programs of one decoder under one method. */
export class StagePrograms {
  readonly attention: AttentionPrograms;
  readonly head: HeadPrograms;
  readonly #cache: ProgramCache;
  readonly #plan: DecoderPlan;
  readonly #session: Routings;
  readonly #adapters: AdapterPlan | null;
  /** Equal where the feed-forward halves of layers depend on the same. */
  readonly #shapes: readonly number[];

  /** Those that leave nothing out at random. */
  readonly #whole: StagePrograms;

  constructor(
    runtime: Runtime,
    plan: DecoderPlan,
    session: MethodSession,
    adapters: AdapterPlan | null = session.adapters ?? null,
  ) {
    this.#cache = new ProgramCache(runtime);
    this.#plan = plan;
    this.#session = routingsOf(session);
    this.#adapters = adapters;
    this.#whole = hasDropout(adapters)
      ? new StagePrograms(runtime, plan, session, withoutDropout(adapters))
      : this;
    this.#shapes = numberEqual(plan.layers.map(feedForwardShape));
    this.attention = new AttentionPrograms(this.#cache, plan, this.#adapters);
    this.head = new HeadPrograms(this.#cache, plan);
  }

  /** The programs of a forward pass. */
  of(mode: Mode): StagePrograms {
    return mode === 'training' ? this : this.#whole;
  }

  #layer(index: number): LayerPlan {
    const layer = this.#plan.layers[index];
    invariant(layer !== undefined, `layer ${index} of ${this.#plan.layers.length}`);
    return layer;
  }

  #moe(index: number): MoePlan {
    const { feedForward } = this.#layer(index);
    invariant(feedForward.kind === 'moe', `layer ${index} has no experts`);
    return feedForward;
  }

  /** Layers with equal feed-forward halves share programs. */
  #key(stage: string, index: number, weights: string): string {
    return `${stage} ${this.#shapes[index]} ${weights}`;
  }

  /** A stage of the routing; modes with one routing share its programs. */
  #routed(stage: string, mode: Mode): string {
    return this.#session.inferenceRouting === undefined ? stage : `${mode} ${stage}`;
  }

  /** @param withBase also what routers as they were make of the tokens. */
  router(index: number, dtypes: WeightDtypes, mode: Mode, withBase: boolean): Promise<StageProgram> {
    const stage = this.#routed(withBase ? 'router with base' : 'router', mode);
    return this.#cache.program(this.#key(stage, index, typesOf(roles.router, dtypes)), () =>
      routerStage(
        this.#layer(index),
        this.#plan.hiddenSize,
        routingOf(this.#session, mode),
        dtypes,
        this.#adapters,
        withBase,
      ),
    );
  }

  /** Adds the gradient of `h` to what its accumulator holds. */
  routerBackward(index: number, use: WeightUse): Promise<StageProgram> {
    return this.#cache.program(this.#key("router'", index, useKey(roles.router, use)), () =>
      accumulate(
        backward(
          routerStage(
            this.#layer(index),
            this.#plan.hiddenSize,
            this.#session.routing,
            use.dtypes,
            this.#adapters,
          ),
          { outputs: ['x', 'logits'], through: ['h'], saved: ['x'], use },
        ),
        ['grad.h'],
      ),
    );
  }

  gate(index: number, mode: Mode, withLosses: boolean): Promise<StageProgram> {
    const stage = this.#routed('gate', mode);
    return this.#cache.program(this.#key(stage, index, String(withLosses)), () =>
      gateStage(this.#layer(index), routingOf(this.#session, mode), withLosses),
    );
  }

  gateBackward(index: number, withLosses: boolean): Promise<StageProgram> {
    const weights = this.#session.routing.dense === undefined ? 'weights' : 'denseWeights';
    const outputs = withLosses ? [weights, 'probabilities', 'logSumExp'] : [weights];
    return this.#cache.program(this.#key("gate'", index, String(withLosses)), () =>
      gradient(gateStage(this.#layer(index), this.#session.routing, withLosses), {
        outputs,
        wrt: ['logits'],
      }),
    );
  }

  expert(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#cache.program(this.#key('expert', index, typesOf(roles.expert, dtypes)), () =>
      expertStage(
        this.#moe(index),
        this.#plan.hiddenSize,
        dtypes,
        this.#layer(index).residualScale,
        this.#adapters,
      ),
    );
  }

  expertBackward(index: number, use: WeightUse, flowsOn: boolean): Promise<StageProgram> {
    const { residualScale } = this.#layer(index);
    return this.#cache.program(this.#key("expert'", index, `${useKey(roles.expert, use)} ${flowsOn}`), () =>
      backward(
        expertStage(this.#moe(index), this.#plan.hiddenSize, use.dtypes, residualScale, this.#adapters),
        {
          outputs: ['y'],
          through: flowsOn ? ['x', 'weight'] : [],
          saved: gatedMlpSaved,
          use,
        },
      ),
    );
  }

  /** Several experts side by side; see `expertGroupStage`. Their rows of each output are one tensor. */
  expertGroup(index: number, dtypes: readonly WeightDtypes[]): Promise<StageProgram> {
    const types = dtypes.map((own) => typesOf(roles.expert, own)).join(', ');
    return this.#cache.program(this.#key('experts', index, types), () =>
      joinRows(this.#expertGroup(index, dtypes), ['y', ...gatedMlpSaved], dtypes.length),
    );
  }

  expertGroupBackward(index: number, uses: readonly WeightUse[], flowsOn: boolean): Promise<StageProgram> {
    const types = uses.map((use) => useKey(roles.expert, use)).join(', ');
    return this.#cache.program(this.#key("experts'", index, `${types} ${flowsOn}`), () => {
      const numbered = (names: readonly string[]) =>
        uses.flatMap((_, at) => names.map((name) => `${name}.${at}`));
      const graph = this.#expertGroup(
        index,
        uses.map(({ dtypes }) => dtypes),
      );
      const derived = backward(graph, {
        outputs: numbered(['y']),
        through: flowsOn ? numbered(['x', 'weight']) : [],
        saved: numbered(gatedMlpSaved),
        use: {
          dtypes: () => null,
          trained: uses.flatMap(({ trained }, at) => trained.map((role) => `${role}.${at}`)),
          accumulates: uses.some(({ accumulates }) => accumulates),
        },
      });
      return flowsOn ? joinRows(derived, ['grad.x', 'grad.weight'], uses.length) : derived;
    });
  }

  #expertGroup(index: number, dtypes: readonly WeightDtypes[]): Graph {
    const { residualScale } = this.#layer(index);
    return expertGroupStage(this.#moe(index), this.#plan.hiddenSize, dtypes, residualScale, this.#adapters);
  }

  /** The gradient of the gate weight alone, from nothing that was kept. */
  expertWeightGradient(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    const { residualScale } = this.#layer(index);
    return this.#cache.program(this.#key('expert weight', index, typesOf(roles.expert, dtypes)), () =>
      gradient(expertStage(this.#moe(index), this.#plan.hiddenSize, dtypes, residualScale, this.#adapters), {
        outputs: ['y'],
        wrt: ['weight'],
      }),
    );
  }

  standIn(index: number): Promise<StageProgram> {
    return this.#cache.program(this.#key('stand-in', index, ''), () =>
      standInStage(this.#layer(index), this.#plan.hiddenSize),
    );
  }

  /** Adds the gradient of the dense weights to what its accumulator holds. */
  standInBackward(index: number): Promise<StageProgram> {
    return this.#cache.program(this.#key("stand-in'", index, ''), () =>
      accumulate(
        gradient(standInStage(this.#layer(index), this.#plan.hiddenSize), {
          outputs: ['y'],
          wrt: ['denseWeights'],
        }),
        ['grad.denseWeights'],
      ),
    );
  }

  meanOutput(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#cache.program(this.#key('mean output', index, typesOf(roles.expert, dtypes)), () =>
      meanOutputStage(this.#moe(index), this.#plan.hiddenSize, dtypes, this.#adapters),
    );
  }

  localExpert(index: number, plan: LocalExpertPlan, mode: Mode): Promise<StageProgram> {
    return this.#cache.program(this.#key(`local ${mode}`, index, ''), () =>
      localExpertStage(this.#layer(index), this.#plan.hiddenSize, plan, mode),
    );
  }

  /** Adds the gradient of `x` to what its accumulator holds. */
  localExpertBackward(index: number, plan: LocalExpertPlan, use: WeightUse): Promise<StageProgram> {
    return this.#cache.program(this.#key("local'", index, useKey([], use)), () =>
      accumulate(
        backward(localExpertStage(this.#layer(index), this.#plan.hiddenSize, plan, 'training'), {
          outputs: ['y'],
          through: ['x'],
          saved: [],
          use,
        }),
        ['grad.x'],
      ),
    );
  }

  /** The loss of a token router and its gradients. @param width of word embeddings. */
  tokenRouterBackward(index: number, width: number, use: WeightUse): Promise<StageProgram> {
    return this.#cache.program(this.#key(`token router' ${width}`, index, useKey([], use)), () =>
      backward(tokenRouterStage(this.#moe(index).experts, width), {
        outputs: ['loss'],
        through: ['rows'],
        saved: [],
        use,
        valueToo: ['loss'],
      }),
    );
  }

  dense(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#cache.program(this.#key('dense', index, typesOf(roles.dense, dtypes)), () =>
      denseStage(this.#layer(index), this.#plan.hiddenSize, dtypes, this.#adapters),
    );
  }

  denseBackward(index: number, use: WeightUse): Promise<StageProgram> {
    return this.#cache.program(this.#key("dense'", index, useKey(roles.dense, use)), () =>
      backward(denseStage(this.#layer(index), this.#plan.hiddenSize, use.dtypes, this.#adapters), {
        outputs: ['out'],
        through: ['h'],
        saved: gatedMlpSaved,
        use,
      }),
    );
  }

  shared(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#cache.program(this.#key('shared', index, typesOf(roles.shared, dtypes)), () =>
      sharedStage(this.#layer(index), this.#plan.hiddenSize, dtypes, this.#adapters),
    );
  }

  sharedBackward(index: number, use: WeightUse): Promise<StageProgram> {
    return this.#cache.program(this.#key("shared'", index, useKey(roles.shared, use)), () =>
      backward(sharedStage(this.#layer(index), this.#plan.hiddenSize, use.dtypes, this.#adapters), {
        outputs: ['out'],
        through: ['x'],
        saved: gatedMlpSaved,
        use,
      }),
    );
  }

  outputNorm(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#cache.program(this.#key('output norm', index, typesOf(roles.outputNorm, dtypes)), () =>
      outputNormStage(this.#layer(index), this.#plan.hiddenSize, dtypes),
    );
  }

  outputNormBackward(index: number, use: WeightUse): Promise<StageProgram> {
    return this.#cache.program(this.#key("output norm'", index, useKey(roles.outputNorm, use)), () =>
      backward(outputNormStage(this.#layer(index), this.#plan.hiddenSize, use.dtypes), {
        outputs: ['out'],
        through: ['mix'],
        saved: [],
        use,
      }),
    );
  }
}
