/**
 * How much the neurons of experts matter ("Less is MoE", arXiv 2606.05538). A neuron j of an expert is row j of its gate and
 * up matrices and column j of its down matrix; a score sums over these 3·H weights and divides by their number.
 */
import { UserError, invariant } from '#core/contract/errors.ts';
import { lossTargets, type MicroBatch } from '#worker/engine/index.ts';
import { moeLayerIndices, neuronStrengthStage, parameterId, type MoePlan } from '#worker/model/index.ts';
import { uniform } from '#worker/random/index.ts';
import type { Program } from '#worker/runtime/index.ts';
import type { LoadedModel } from '#worker/train/index.ts';

/** The scores there are. */
export const neuronScoreNames = [
  'meanAbsGrad',
  'fisher',
  'taylor',
  'magnitude',
  'activation',
  'random',
] as const;
export type NeuronScoreName = (typeof neuronScoreNames)[number];

/** Scores of all neurons, `[MoE layers][experts][neurons]`. */
export interface NeuronScores {
  readonly scores_LEI: readonly (readonly Float64Array[])[];
  /** Samples that reached each expert, `[MoE layers][experts]`; null where the score looks at no data. */
  readonly hits_LE: readonly Uint32Array[] | null;
  readonly samples: number;
  /** Mean cross-entropy of each sample, where the score takes gradients. */
  readonly losses: readonly number[];
}

/** What one weight w with gradient g adds. */
const terms: Readonly<Partial<Record<NeuronScoreName, (g: number, w: number) => number>>> = {
  meanAbsGrad: (g) => Math.abs(g),
  fisher: (g) => g * g,
  taylor: (g, w) => Math.abs(g * w),
};

/** Whether a score needs gradients of the experts: the model must be loaded with them as what trains. */
export function takesGradients(name: NeuronScoreName): boolean {
  return terms[name] !== undefined;
}

/** Whether a score looks at data. */
export function readsData(name: NeuronScoreName): boolean {
  return takesGradients(name) || name === 'activation';
}

interface Place {
  readonly moeIndex: number;
  readonly layer: number;
  readonly expert: number;
  readonly plan: MoePlan;
  readonly scores_I: Float64Array;
}

/** Adds `term(i)` of every weight of an expert to the score of its neuron, divided by 3·H. */
function addExpert(
  model: LoadedModel,
  { layer, expert, scores_I }: Place,
  term: (g: number, w: number) => number,
  gradients: boolean,
): void {
  const neurons = scores_I.length;
  const share = 1 / (3 * model.plan.hiddenSize);
  for (const role of ['expertGate', 'expertUp', 'expertDown'] as const) {
    const id = parameterId(role, layer, expert);
    const weights = gradients ? (model.store.weight(id).data as Float32Array) : model.store.values(id);
    const slopes = gradients ? (model.store.gradient(id).data as Float32Array) : weights;
    const width = weights.length / neurons;
    for (let i = 0; i < weights.length; i++) {
      const neuron = role === 'expertDown' ? i % neurons : Math.floor(i / width);
      scores_I[neuron] =
        (scores_I[neuron] as number) + share * term(slopes[i] as number, weights[i] as number);
    }
  }
}

function placesOf(model: LoadedModel): Place[] {
  return moeLayerIndices(model.plan).flatMap((layer, moeIndex) => {
    const plan = model.plan.layers[layer]?.feedForward;
    invariant(plan?.kind === 'moe', `layer ${layer} has experts`);
    if (plan.widths !== undefined) {
      throw new UserError(
        'prune/ragged-source',
        'the model was pruned already: its experts have different widths',
        'Prune the checkpoint it was made from, with a larger ratio.',
      );
    }
    return Array.from({ length: plan.experts }, (_, expert) => ({
      moeIndex,
      layer,
      expert,
      plan,
      scores_I: new Float64Array(plan.intermediate),
    }));
  });
}

/**
 * Scores every neuron.
 *
 * `meanAbsGrad` |∂L/∂w|, `fisher` (∂L/∂w)², `taylor` |w ∂L/∂w|: of the mean cross-entropy of one sample, then the mean over
 * samples (the absolute value is taken after the sum over the tokens of a sample). `magnitude`: |w|. `activation`: mean
 * over tokens of |act(gate x) ⊙ up x|. `random`: evenly drawn. An expert that a sample does not reach scores zero on it.
 * @param samples micro-batches of one sample each.
 * @param perHit divide by the samples (tokens for `activation`) that reached the expert, not by all.
 * @param seed for `random`.
 */
export async function scoreNeurons(
  model: LoadedModel,
  name: NeuronScoreName,
  samples: Iterable<MicroBatch>,
  { perHit = false, seed = 0 }: { readonly perHit?: boolean; readonly seed?: number } = {},
): Promise<NeuronScores> {
  const places = placesOf(model);
  const term = terms[name];
  let result: Sums = { hits: new Float64Array(places.length), all: 1, losses: [] };
  if (term !== undefined) result = await addGradients(model, places, term, samples);
  else if (name === 'activation') result = await addActivations(model, places, samples);
  else if (name === 'magnitude') for (const place of places) addExpert(model, place, Math.abs, false);
  else {
    for (const { layer, expert, scores_I } of places)
      scores_I.set(uniform(seed, `prune ${layer} ${expert}`, scores_I.length));
  }
  const withData = readsData(name);
  places.forEach(({ scores_I }, at) => {
    const count = withData && perHit ? Math.max(1, result.hits[at] as number) : result.all;
    for (let j = 0; j < scores_I.length; j++) scores_I[j] = (scores_I[j] as number) / count;
  });
  const byLayer = Map.groupBy(places.keys(), (at) => places[at]?.moeIndex ?? 0);
  const grouped = <T>(value: (at: number) => T): T[][] => [...byLayer.values()].map((ats) => ats.map(value));
  return {
    scores_LEI: grouped((at) => places[at]?.scores_I ?? new Float64Array(0)),
    hits_LE: withData
      ? grouped((at) => result.hits[at] ?? 0).map((hits_E) => Uint32Array.from(hits_E))
      : null,
    samples: withData ? result.all : 0,
    losses: result.losses,
  };
}

interface Sums {
  /** For each place. */
  readonly hits: Float64Array;
  readonly all: number;
  readonly losses: number[];
}

async function addGradients(
  model: LoadedModel,
  places: readonly Place[],
  term: (g: number, w: number) => number,
  samples: Iterable<MicroBatch>,
): Promise<Sums> {
  const sums = { hits: new Float64Array(places.length), all: 0, losses: [] as number[] };
  for (const sample of samples) {
    const tokens = lossTargets(sample).at.length;
    const { lossSum, usage } = await model.executor.train(sample, Math.max(1, tokens), 1);
    sums.losses.push(lossSum / Math.max(1, tokens));
    sums.all++;
    places.forEach((place, at) => {
      // Gradients of experts without tokens are not written.
      if ((usage[place.moeIndex]?.hard_E[place.expert] ?? 0) === 0) return;
      sums.hits[at] = (sums.hits[at] as number) + 1;
      addExpert(model, place, term, true);
    });
    model.store.clearGradients();
    // Lets signals in.
    await new Promise(setImmediate);
  }
  return sums;
}

async function addActivations(
  model: LoadedModel,
  places: readonly Place[],
  samples: Iterable<MicroBatch>,
): Promise<Sums> {
  const sums = { hits: new Float64Array(places.length), all: 0, losses: [] as number[] };
  // Places with equal plans share one.
  const programs = await Promise.all(
    places.map(({ plan }) => model.runtime.compile(neuronStrengthStage(plan))),
  );
  for (const sample of samples) {
    sums.all += sample.segments.reduce((count, segment) => count + (segment > 0 ? 1 : 0), 0);
    await model.executor.observe(sample, ({ trace }, moeIndex) => {
      const { gateProjection, upProjection, dispatch } = trace;
      for (const [at, { moeIndex: own, expert, scores_I }] of places.entries()) {
        const [from = 0, to = 0] = [dispatch.offsets[expert], dispatch.offsets[expert + 1]];
        if (own !== moeIndex || from === to) continue;
        sums.hits[at] = (sums.hits[at] as number) + to - from;
        const [gate, up] = [gateProjection.of(expert), upProjection.of(expert)];
        const { strength } = (programs[at] as Program).run({ gateProjection: gate, upProjection: up });
        invariant(strength?.data instanceof Float32Array, 'strengths are float32');
        for (const [j, value] of strength.data.entries()) scores_I[j] = (scores_I[j] as number) + value;
      }
    });
    await new Promise(setImmediate);
  }
  return sums;
}
