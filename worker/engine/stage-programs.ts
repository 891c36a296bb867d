/** Stage graphs, compiled once and reused for every layer and expert that has the same shape. */
import { invariant } from '#core/contract/errors.ts';
import { accumulate, gradient, type Graph } from '#worker/graph/index.ts';
import {
  attentionSaved,
  attentionStage,
  expertSaved,
  expertStage,
  gateStage,
  logitsStage,
  lossStage,
  routerStage,
  type DecoderPlan,
  type LayerPlan,
  type Routing,
  type WeightDtypes,
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
  attention: ['inputNorm', 'query', 'key', 'value', 'output', 'queryNorm', 'keyNorm'],
  router: ['postAttentionNorm', 'router'],
  expert: ['expertGate', 'expertUp', 'expertDown'],
  head: ['finalNorm', 'head'],
} as const;

/** The weights each stage reads, by role. */
export const stageRoles: Readonly<Record<keyof typeof roles, readonly string[]>> = roles;

/** The programs of one decoder under one method. */
export class StagePrograms {
  readonly #runtime: Runtime;
  readonly #plan: DecoderPlan;
  readonly #routing: Routing;
  readonly #compiled = new Map<string, Promise<StageProgram>>();

  constructor(runtime: Runtime, plan: DecoderPlan, routing: Routing) {
    this.#runtime = runtime;
    this.#plan = plan;
    this.#routing = routing;
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

  attention(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    const layer = this.#layer(index);
    const key = `attention ${JSON.stringify([layer.attention, layer.inputNorm])} ${typesOf(roles.attention, dtypes)}`;
    return this.#program(key, () => attentionStage(layer, this.#plan.hiddenSize, dtypes));
  }

  attentionBackward(index: number, use: WeightUse): Promise<StageProgram> {
    const layer = this.#layer(index);
    const key = `attention' ${JSON.stringify([layer.attention, layer.inputNorm])} ${useKey(roles.attention, use)}`;
    return this.#program(key, () =>
      backward(attentionStage(layer, this.#plan.hiddenSize, use.dtypes), {
        outputs: ['out'],
        through: ['h'],
        saved: attentionSaved,
        use,
      }),
    );
  }

  router(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    const layer = this.#layer(index);
    const key = `router ${JSON.stringify([layer.feedForward, layer.postAttentionNorm])} ${typesOf(roles.router, dtypes)}`;
    return this.#program(key, () => routerStage(layer, this.#plan.hiddenSize, this.#routing, dtypes));
  }

  /** Adds the gradient of `h` to what its accumulator holds. */
  routerBackward(index: number, use: WeightUse): Promise<StageProgram> {
    const layer = this.#layer(index);
    const key = `router' ${JSON.stringify([layer.feedForward, layer.postAttentionNorm])} ${useKey(roles.router, use)}`;
    return this.#program(key, () =>
      accumulate(
        backward(routerStage(layer, this.#plan.hiddenSize, this.#routing, use.dtypes), {
          outputs: ['x', 'logits'],
          through: ['h'],
          saved: ['x'],
          use,
        }),
        ['grad.h'],
      ),
    );
  }

  gate(index: number, withLosses: boolean): Promise<StageProgram> {
    const layer = this.#layer(index);
    const key = `gate ${JSON.stringify(layer.feedForward)} ${withLosses}`;
    return this.#program(key, () => gateStage(layer, this.#routing, withLosses));
  }

  gateBackward(index: number, withLosses: boolean): Promise<StageProgram> {
    const layer = this.#layer(index);
    const key = `gate' ${JSON.stringify(layer.feedForward)} ${withLosses}`;
    const outputs = withLosses ? ['weights', 'probabilities', 'logSumExp'] : ['weights'];
    return this.#program(key, () =>
      gradient(gateStage(layer, this.#routing, withLosses), { outputs, wrt: ['logits'] }),
    );
  }

  expert(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    const { intermediate } = this.#layer(index).feedForward;
    const key = `expert ${intermediate} ${typesOf(roles.expert, dtypes)}`;
    return this.#program(key, () => expertStage(this.#plan.hiddenSize, intermediate, dtypes));
  }

  expertBackward(index: number, use: WeightUse): Promise<StageProgram> {
    const { intermediate } = this.#layer(index).feedForward;
    const key = `expert' ${intermediate} ${useKey(roles.expert, use)}`;
    return this.#program(key, () =>
      backward(expertStage(this.#plan.hiddenSize, intermediate, use.dtypes), {
        outputs: ['y'],
        through: ['x', 'weight'],
        saved: expertSaved,
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
