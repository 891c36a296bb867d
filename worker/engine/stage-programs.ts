/** Stage graphs, compiled once and reused for every layer and expert that has the same shape. */
import { invariant } from '#core/contract/errors.ts';
import { accumulate, gradient, type Graph } from '#worker/graph/index.ts';
import {
  attentionSaved,
  attentionStage,
  denseStage,
  expertStage,
  gatedMlpSaved,
  gateStage,
  logitsStage,
  lossStage,
  outputNormStage,
  routerStage,
  routingOf,
  sharedStage,
  type AdapterPlan,
  type DecoderPlan,
  type LayerPlan,
  type MethodSession,
  type Mode,
  type MoePlan,
  type Routings,
  type WeightDtypes,
  type WeightRole,
} from '#worker/model/index.ts';
import type { Program, Runtime, TensorView, Tensors } from '#worker/runtime/index.ts';

/** A compiled stage that takes what it needs from the values offered. */
export class StageProgram {
  readonly #program: Program;

  constructor(program: Program) {
    this.#program = program;
  }

  /** Runs the stage; `offered` may hold more than it reads. Results are written into `fetches`. */
  run(offered: Tensors, fetches: Tensors): void {
    const feeds: Record<string, TensorView> = {};
    for (const name of this.#program.inputs) {
      const view = offered[name];
      invariant(
        view !== undefined,
        `${this.#program.name}: ${name} is not among ${Object.keys(offered).join(', ')}`,
      );
      feeds[name] = view;
    }
    this.#program.run(feeds, fetches);
  }
}

/** How a stage's weights take part in a backward pass. */
export interface WeightUse {
  readonly dtypes: WeightDtypes;
  /** Roles whose gradient is wanted. */
  readonly trained: readonly string[];
  /** Their gradients already hold something that is added to. */
  readonly accumulates: boolean;
}

const roles = {
  attention: [
    'inputNorm',
    'query',
    'key',
    'value',
    'output',
    'queryBias',
    'keyBias',
    'valueBias',
    'outputBias',
    'queryNorm',
    'keyNorm',
    'sinks',
    'outputGate',
    'queryDown',
    'queryDownNorm',
    'keyValueDown',
    'keyValueDownNorm',
    'keyValueUp',
    'attentionOutputNorm',
  ],
  router: ['postAttentionNorm', 'router', 'routerBias', 'selectionBias'],
  expert: ['expertGate', 'expertUp', 'expertDown', 'expertGateBias', 'expertUpBias', 'expertDownBias'],
  shared: ['sharedGate', 'sharedUp', 'sharedDown', 'sharedMix'],
  dense: ['postAttentionNorm', 'denseGate', 'denseUp', 'denseDown', 'feedForwardOutputNorm'],
  outputNorm: ['feedForwardOutputNorm'],
  head: ['finalNorm', 'head'],
} as const satisfies Readonly<Record<string, readonly WeightRole[]>>;

/** A stage that reads weights. */
export type StageName = keyof typeof roles;

/** The weights each stage may read, by role; a plan has some of them. */
export const stageRoles: Readonly<Record<StageName, readonly WeightRole[]>> = roles;

/** The programs of one decoder under one method. */
export class StagePrograms {
  readonly #runtime: Runtime;
  readonly #plan: DecoderPlan;
  readonly #session: Routings;
  readonly #adapters: AdapterPlan | null;
  readonly #compiled = new Map<string, Promise<StageProgram>>();

  constructor(runtime: Runtime, plan: DecoderPlan, session: MethodSession) {
    this.#runtime = runtime;
    this.#plan = plan;
    this.#session = session;
    this.#adapters = session.adapters ?? null;
  }

  #program(key: string, build: () => Graph): Promise<StageProgram> {
    let program = this.#compiled.get(key);
    if (program === undefined) {
      program = this.#runtime.compile(build()).then((compiled) => new StageProgram(compiled));
      this.#compiled.set(key, program);
    }
    return program;
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

  /** Layers with equal keys share programs. */
  #key(stage: string, half: 'attention' | 'feedForward', index: number, weights: string): string {
    const { attention, inputNorm, attentionOutputNorm, ...rest } = this.#layer(index);
    const own =
      half === 'attention'
        ? [attention, inputNorm, attentionOutputNorm, rest.residualScale]
        : Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1));
    return `${stage} ${JSON.stringify(own)} ${weights}`;
  }

  attention(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#program(this.#key('attention', 'attention', index, typesOf(roles.attention, dtypes)), () =>
      attentionStage(this.#layer(index), this.#plan.hiddenSize, dtypes, this.#adapters),
    );
  }

  attentionBackward(index: number, use: WeightUse): Promise<StageProgram> {
    const layer = this.#layer(index);
    return this.#program(this.#key("attention'", 'attention', index, useKey(roles.attention, use)), () =>
      backward(attentionStage(layer, this.#plan.hiddenSize, use.dtypes, this.#adapters), {
        outputs: ['out'],
        through: ['h'],
        saved: Object.keys(attentionSaved(layer.attention)),
        use,
      }),
    );
  }

  /** A stage of the routing; modes with one routing share its programs. */
  #routed(stage: string, mode: Mode): string {
    return this.#session.inferenceRouting === undefined ? stage : `${mode} ${stage}`;
  }

  router(index: number, dtypes: WeightDtypes, mode: Mode): Promise<StageProgram> {
    const stage = this.#routed('router', mode);
    return this.#program(this.#key(stage, 'feedForward', index, typesOf(roles.router, dtypes)), () =>
      routerStage(
        this.#layer(index),
        this.#plan.hiddenSize,
        routingOf(this.#session, mode),
        dtypes,
        this.#adapters,
      ),
    );
  }

  /** Adds the gradient of `h` to what its accumulator holds. */
  routerBackward(index: number, use: WeightUse): Promise<StageProgram> {
    return this.#program(this.#key("router'", 'feedForward', index, useKey(roles.router, use)), () =>
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
    return this.#program(this.#key(stage, 'feedForward', index, String(withLosses)), () =>
      gateStage(this.#layer(index), routingOf(this.#session, mode), withLosses),
    );
  }

  gateBackward(index: number, withLosses: boolean): Promise<StageProgram> {
    const outputs = withLosses ? ['weights', 'probabilities', 'logSumExp'] : ['weights'];
    return this.#program(this.#key("gate'", 'feedForward', index, String(withLosses)), () =>
      gradient(gateStage(this.#layer(index), this.#session.routing, withLosses), {
        outputs,
        wrt: ['logits'],
      }),
    );
  }

  expert(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#program(this.#key('expert', 'feedForward', index, typesOf(roles.expert, dtypes)), () =>
      expertStage(
        this.#moe(index),
        this.#plan.hiddenSize,
        dtypes,
        this.#layer(index).residualScale,
        this.#adapters,
      ),
    );
  }

  expertBackward(index: number, use: WeightUse): Promise<StageProgram> {
    const { residualScale } = this.#layer(index);
    return this.#program(this.#key("expert'", 'feedForward', index, useKey(roles.expert, use)), () =>
      backward(
        expertStage(this.#moe(index), this.#plan.hiddenSize, use.dtypes, residualScale, this.#adapters),
        {
          outputs: ['y'],
          through: ['x', 'weight'],
          saved: gatedMlpSaved,
          use,
        },
      ),
    );
  }

  dense(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#program(this.#key('dense', 'feedForward', index, typesOf(roles.dense, dtypes)), () =>
      denseStage(this.#layer(index), this.#plan.hiddenSize, dtypes, this.#adapters),
    );
  }

  denseBackward(index: number, use: WeightUse): Promise<StageProgram> {
    return this.#program(this.#key("dense'", 'feedForward', index, useKey(roles.dense, use)), () =>
      backward(denseStage(this.#layer(index), this.#plan.hiddenSize, use.dtypes, this.#adapters), {
        outputs: ['out'],
        through: ['h'],
        saved: gatedMlpSaved,
        use,
      }),
    );
  }

  shared(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#program(this.#key('shared', 'feedForward', index, typesOf(roles.shared, dtypes)), () =>
      sharedStage(this.#layer(index), this.#plan.hiddenSize, dtypes, this.#adapters),
    );
  }

  sharedBackward(index: number, use: WeightUse): Promise<StageProgram> {
    return this.#program(this.#key("shared'", 'feedForward', index, useKey(roles.shared, use)), () =>
      backward(sharedStage(this.#layer(index), this.#plan.hiddenSize, use.dtypes, this.#adapters), {
        outputs: ['out'],
        through: ['x'],
        saved: gatedMlpSaved,
        use,
      }),
    );
  }

  outputNorm(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#program(
      this.#key('output norm', 'feedForward', index, typesOf(roles.outputNorm, dtypes)),
      () => outputNormStage(this.#layer(index), this.#plan.hiddenSize, dtypes),
    );
  }

  outputNormBackward(index: number, use: WeightUse): Promise<StageProgram> {
    return this.#program(this.#key("output norm'", 'feedForward', index, useKey(roles.outputNorm, use)), () =>
      backward(outputNormStage(this.#layer(index), this.#plan.hiddenSize, use.dtypes), {
        outputs: ['out'],
        through: ['mix'],
        saved: [],
        use,
      }),
    );
  }

  logits(dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#program(`logits ${typesOf(roles.head, dtypes)}`, () => logitsStage(this.#plan, dtypes));
  }

  loss(dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#program(`loss ${typesOf(roles.head, dtypes)}`, () => lossStage(this.#plan, dtypes));
  }

  /** Loss and its gradient in one run, so that logits are never kept. */
  lossBackward(use: WeightUse): Promise<StageProgram> {
    return this.#program(`loss' ${useKey(roles.head, use)}`, () =>
      backward(lossStage(this.#plan, use.dtypes), {
        outputs: ['loss'],
        through: ['h'],
        saved: [],
        use,
        valueToo: ['loss'],
      }),
    );
  }
}

function typesOf(names: readonly string[], dtypes: WeightDtypes): string {
  return names.map(dtypes).join(' ');
}

function useKey(names: readonly string[], use: WeightUse): string {
  return `${typesOf(names, use.dtypes)} ${use.trained.join(' ')} ${use.accumulates}`;
}

interface Backward {
  readonly outputs: readonly string[];
  /** Inputs the gradient flows on to. */
  readonly through: readonly string[];
  readonly saved: readonly string[];
  readonly use: WeightUse;
  readonly valueToo?: readonly string[];
}

function backward(graph: Graph, { outputs, through, saved, use, valueToo = [] }: Backward): Graph {
  const inputs = new Set(graph.inputs.map((input) => input.name));
  const trained = use.trained.filter((role) => inputs.has(role));
  const derived = gradient(graph, { outputs, wrt: [...through, ...trained], saved, valueToo });
  return use.accumulates
    ? accumulate(
        derived,
        trained.map((role) => `grad.${role}`),
      )
    : derived;
}
