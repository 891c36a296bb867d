/** A method on the tiny model of a family: started or refused, trained for two steps, and what was seen meanwhile. */
import { UserError } from '#core/contract/errors.ts';
import { gradientNorm, type MicroBatch } from '#worker/engine/index.ts';
import { describeMethods } from '#worker/methods/index.ts';
import { routerShapes, type DecoderPlan, type LayerUsage } from '#worker/model/index.ts';
import { createRuntime, type Runtime } from '#worker/runtime/index.ts';
import {
  anySubmatrices,
  decoderPlanOf,
  finishStep,
  loadModel,
  type LoadedModel,
  type LoadRequest,
} from '#worker/train/index.ts';
import { goldenFamilyModel } from './golden-families.ts';

type Options = LoadRequest['method']['options'];

export const methodNames: readonly string[] = describeMethods().map(({ name }) => name);

/** Options that let a method show in two steps on a tiny model what it does. Methods not named take their defaults. */
const tinyOptions: Readonly<Record<string, Options>> = {
  lora: { rank: 2 },
  dora: { rank: 2 },
  smt: { blockSize: 4, attentionShare: 0.05, mlpShare: 0.05 },
  esft: { share: 0.3 },
  'loss-free-balancing': { biasSpeed: 1 / 16 },
  'expert-condenser': { biasSpeed: 1 / 16, condenserBiasSpeed: 1 / 32, condensersPerLayer: 1 },
  evomoe: { threshold: 0.15, fallSteps: 1 },
  'local-expert': { rank: 2 },
};

/** Scores of an untouched model that uses its last experts most. */
function risingScores(plan: DecoderPlan) {
  const scores_LE = routerShapes(plan).map(({ experts }) =>
    Array.from({ length: experts }, (_, e) => (2 * (e + 1)) / (experts * (experts + 1))),
  );
  return { token: scores_LE, gate: scores_LE };
}

/** How a method is started, beside its name. */
export type StartOptions = Pick<LoadRequest, 'seed' | 'runtime' | 'trains'> & { readonly options?: Options };

/**
 * Starts method `name` on the model of a golden case or family.
 * @throws UserError where the pair is refused.
 */
export async function start(
  model: string,
  name: string,
  { options, ...request }: StartOptions = {},
): Promise<LoadedModel> {
  const modelDir = goldenFamilyModel(model);
  const method = { name, options: options ?? tinyOptions[name] ?? {} };
  const plan = await decoderPlanOf(modelDir);
  return loadModel({
    ...request,
    modelDir,
    method,
    expertScores: risingScores(plan),
    submatrices: anySubmatrices(method, plan),
  });
}

/** Why method `name` does not train a model; null: it does. */
export async function refusalOf(model: string, name: string): Promise<UserError | null> {
  try {
    (await start(model, name, { trains: false })).close();
    return null;
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

/** Rows of 10 and 7 tokens, all trained, and padding behind them. */
export function paddedBatch(length = 11): MicroBatch {
  const places = Array.from({ length: 2 * length }, (_, i) => ({
    row: Math.floor(i / length),
    at: i % length,
  }));
  const ids = Int32Array.from(places, ({ row, at }) =>
    at < (row === 0 ? 10 : 7) ? 5 + ((37 * (10 * row + at)) % 90) : 0,
  );
  return {
    batch: 2,
    sequence: length,
    inputIds: ids,
    labels: ids.map((id) => (id === 0 ? -100 : id)),
    positions: Int32Array.from(places, ({ at }) => at),
    segments: ids.map((id) => Number(id !== 0)),
  };
}

/** Trained positions of `paddedBatch`: the first token of a row is no target. */
export const TARGETS = 15;

const STEPS = 2;
const optimizer = { betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 } as const;

/** One optimizer step, of one micro-batch, as it was. */
export interface Step {
  readonly loss: number;
  /** Sum of squares of each trained parameter's gradient. */
  readonly squares: ReadonlyMap<string, number>;
  /** One for each MoE layer. */
  readonly usage: readonly LayerUsage[];
  /** After the step, `[layers × experts]`; empty where there is no bias. */
  readonly bias_LE: Float32Array;
}

/**
 * Trains `model` for the first `steps` of two steps.
 * @param between called between them.
 */
export async function trainSteps(model: LoadedModel, steps = STEPS, between = () => {}): Promise<Step[]> {
  const { session, optimizer: adam, executor } = model;
  const seen: Step[] = [];
  for (let step = 0; step < steps; step++) {
    if (step > 0) between();
    const at = { step, totalSteps: STEPS, microBatch: 0, microBatches: 1 };
    session.beforeStep?.(at);
    const { lossSum, usage } = await executor.train(paddedBatch(), TARGETS, 1);
    session.afterMicroBatch(usage, at);
    const squares = adam.gradientSquares();
    adam.step(optimizer, step + 1, 1e-2, gradientNorm(squares), session.frozen);
    finishStep(model, at);
    const bias_LE = session.routerState().bias_LE ?? new Float32Array(0);
    seen.push({ loss: lossSum, squares, usage, bias_LE });
  }
  return seen;
}

/** All weights of a model, by id. */
export function weightsOf({ store }: LoadedModel): Map<string, Float32Array> {
  return new Map(store.parameters.map(({ id }) => [id, store.values(id)]));
}

/** Ids of weights that do not have the same bits. */
export function differing(
  some: ReadonlyMap<string, Float32Array>,
  others: ReadonlyMap<string, Float32Array>,
): string[] {
  const bytes = (values: Float32Array | undefined) => Buffer.from(values?.buffer ?? new ArrayBuffer(0));
  return [...some.keys()].filter((id) => !bytes(some.get(id)).equals(bytes(others.get(id))));
}

/** A runtime whose programs outlive the models that are closed, so that the next one finds them compiled. */
export function sharedRuntime(): { readonly shared: Runtime; end(): void } {
  const runtime = createRuntime({ threads: 1 });
  return { shared: { ...runtime, release: () => undefined }, end: () => runtime.release() };
}
