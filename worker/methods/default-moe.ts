/**
 * Default MoE (arXiv 2504.12463): each expert has a default output, the moving average of what it gives. It stands for the
 * expert on tokens that are not sent to it, so that the router learns from all experts at the price of the chosen ones.
 */
import { z } from 'zod';
import { op, type Value } from '#worker/graph/index.ts';
import {
  gateWeights,
  plainRouting,
  routerOf,
  routerScores,
  routerShapes,
  type LayerUsage,
  type Method,
  type MethodContext,
  type MethodSession,
  type RouterPlan,
  type RouterState,
  type Routing,
  type RoutingLoss,
} from '#worker/model/index.ts';
import { adapterChoice, trainedParts, type TrainedParts } from './adapter-options.ts';
import { routingLossOptions, routingLosses } from './routing-loss-options.ts';

const Options = z.strictObject({
  defaultsIn: z.enum(['gradient', 'value']).default('gradient').meta({
    title: 'Where default outputs count',
    description:
      'gradient: in that of the router only; the model computes what the checkpoint does. value: in the forward pass too (the equation of the paper, made for training from scratch); the model then needs its default outputs wherever it is used.',
  }),
  beta: z.number().min(0).lt(1).default(0.9).meta({
    title: 'Keep of the average',
    unit: 'per step',
    description:
      'Part of a default output that stays at each step in which its expert was used. The paper: 0.9 with 8 experts, 0.65 to 0.999 with 32, higher the more of them are chosen.',
  }),
  defaultsFile: z.string().nullable().default(null).meta({
    title: 'Start from default outputs',
    description:
      'The default_outputs.safetensors of an earlier run, or the folder that holds it. Without one an expert has none until the first step that uses it.',
    advanced: true,
  }),
  ...adapterChoice,
  ...routingLossOptions,
});
type Options = z.output<typeof Options>;

const State = z.object({
  /** Little-endian float32 `[experts × hidden]` in base64, for each MoE layer. */
  outputs: z.array(z.base64()),
  /** Whether an expert has a default output yet, by layer. */
  known: z.array(z.array(z.boolean())),
});

/** The router's own weights where experts are chosen, their plain scores elsewhere. */
function denseWeights(router: RouterPlan, scores_NE: Value, multiplicity_NE: Value): Value {
  const others_NE = op.sub(scores_NE, op.mul(multiplicity_NE, scores_NE));
  return op.add(gateWeights(router, scores_NE, multiplicity_NE), op.mul(others_NE, router.scale ?? 1));
}

/** What the experts of a layer gave in the step so far. */
interface Sums {
  readonly output_EH: Float64Array;
  readonly count_E: Float64Array;
}

class DefaultSession implements MethodSession {
  readonly trainable: TrainedParts['trainable'];
  readonly added: TrainedParts['added'];
  readonly adapters: TrainedParts['adapters'];
  readonly losses: readonly RoutingLoss[];
  readonly readsPadding = false;
  readonly routing: Routing;
  readonly inferenceRouting: Routing;
  readonly #beta: number;
  readonly #inValue: boolean;
  #outputs: Float32Array[];
  #known: boolean[][];
  #sums: Sums[];

  constructor(options: Options, context: MethodContext) {
    const { hiddenSize } = context.plan;
    const shapes = routerShapes(context.plan);
    const router = routerOf(shapes);
    ({
      trainable: this.trainable,
      added: this.added,
      adapters: this.adapters,
    } = trainedParts(options, context));
    this.losses = routingLosses(options);
    this.#beta = options.beta;
    this.#inValue = options.defaultsIn === 'value';
    const given = options.defaultsFile === null ? null : context.readDefaultOutputs(options.defaultsFile);
    this.#outputs = shapes.map(
      ({ experts }, layer) => given?.[layer] ?? new Float32Array(experts * hiddenSize),
    );
    this.#known = shapes.map(({ experts }) => new Array<boolean>(experts).fill(given !== null));
    this.#sums = this.#noSums();
    const plain = plainRouting(shapes);
    this.routing = {
      ...plain,
      dense: {
        weights: (logits_NE, multiplicity_NE) =>
          denseWeights(router, routerScores(router, logits_NE), multiplicity_NE),
        standIn: {
          kind: 'vector',
          inValue: this.#inValue,
          vectors_EH: (layer) => this.#outputs[layer] ?? new Float32Array(0),
        },
      },
    };
    this.inferenceRouting = this.#inValue ? this.routing : plain;
  }

  #noSums(): Sums[] {
    return this.#outputs.map((output_EH, layer) => ({
      output_EH: new Float64Array(output_EH.length),
      count_E: new Float64Array(this.#known[layer]?.length ?? 0),
    }));
  }

  buffer(name: string): Float32Array {
    throw new RangeError(`no routing buffer ${name}`);
  }

  afterMicroBatch(usage: readonly LayerUsage[]): void {
    this.#sums.forEach(({ output_EH, count_E }, layer) => {
      const { hard_E = [], meanOutput_EH = [] } = usage[layer] ?? {};
      const hidden = output_EH.length / count_E.length;
      for (let e = 0; e < count_E.length; e++) {
        const count = hard_E[e] ?? 0;
        if (count === 0) continue;
        count_E[e] = (count_E[e] as number) + count;
        for (let at = e * hidden; at < (e + 1) * hidden; at++)
          output_EH[at] = (output_EH[at] as number) + count * (meanOutput_EH[at] ?? NaN);
      }
    });
  }

  /** `Ê_e ← β Ê_e + (1 − β) mean E_e(x)` over the tokens of the step; an expert without any keeps its default output. */
  afterStep(): readonly string[] {
    this.#sums.forEach(({ output_EH, count_E }, layer) => {
      const [old_EH, known_E] = [this.#outputs[layer] ?? [], this.#known[layer] ?? []];
      const hidden = output_EH.length / count_E.length;
      // A new matrix: the engine may hold views of the old one.
      const new_EH = Float32Array.from(old_EH);
      for (let e = 0; e < count_E.length; e++) {
        const count = count_E[e] as number;
        if (count === 0) continue;
        const kept = known_E[e] === true ? this.#beta : 0;
        for (let at = e * hidden; at < (e + 1) * hidden; at++)
          new_EH[at] = kept * (new_EH[at] as number) + (1 - kept) * ((output_EH[at] as number) / count);
        known_E[e] = true;
      }
      this.#outputs[layer] = new_EH;
    });
    this.#sums = this.#noSums();
    return [];
  }

  routerState(): RouterState {
    return this.#inValue ? { defaultOutputs: this.#outputs } : {};
  }

  save(): z.input<typeof State> {
    return {
      outputs: this.#outputs.map(({ buffer, byteOffset, byteLength }) =>
        Buffer.from(buffer, byteOffset, byteLength).toString('base64'),
      ),
      known: this.#known.map((known_E) => [...known_E]),
    };
  }

  restore(saved: unknown): void {
    const { outputs, known } = State.parse(saved);
    this.#outputs = outputs.map(
      (text) => new Float32Array(Uint8Array.from(Buffer.from(text, 'base64')).buffer),
    );
    this.#known = known;
    this.#sums = this.#noSums();
  }
}

/** Default outputs of experts, in the gradient or in the value. */
export const defaultMoe: Method<typeof Options> = {
  name: 'default-moe',
  title: 'Default MoE',
  trains:
    'Every weight; the router learns from all experts, those not chosen by a moving average of what they give.',
  cost: '1 ×; one vector for each expert, and a small product with them.',
  source: 'Dense backpropagation (Default MoE), arXiv 2504.12463; the reading follows summaries of it.',
  options: Options,
  needs: 'scores',
  start: (options, context) => new DefaultSession(options, context),
};
