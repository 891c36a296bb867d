/**
 * The gates of local experts, fitted apart from them on two kinds of text, as Zhang et al. 2018 (arXiv 1811.00056) train the network
 * that chooses between the generic and the local one; the details are this project's reading. Local experts are frozen and were
 * trained in full (γ = 1). A token of special text belongs to the class "open" where they predict it better than the base, a token
 * of general text never does. Each gate is a logistic regression of that class on what it reads in the base, both classes
 * counting alike; one threshold for all gates is the lowest at which general text loses no more than it may.
 */
import { UserError, invariant } from '#core/contract/errors.ts';
import { Executor, lossTargets, type MicroBatch } from '#worker/engine/index.ts';
import {
  additionsOf,
  moeLayerIndices,
  parameterId,
  withAdditions,
  type LocalExpertPlan,
} from '#worker/model/index.ts';
import { loadModel, type LoadedModel } from '#worker/train/index.ts';
import { concatenated } from './concatenated.ts';
import { areaUnderCurve, fitLogistic, logisticScores } from './logistic-fit.ts';

/** What to fit on, and how careful to be. */
export interface GateFitRequest {
  readonly special: readonly MicroBatch[];
  readonly general: readonly MicroBatch[];
  /** Local experts must be better by so many nats for a token to count as theirs. */
  readonly margin: number;
  /** By what share of its loss general text may get worse. */
  readonly allowed: number;
  /** At most so many tokens of each kind are fitted on, evenly spaced. */
  readonly tokens: number;
  readonly onProgress: (text: string) => void;
}

/** Mean losses in nats of held-out text, and how often gates are open. */
export interface GateFitMeasure {
  readonly tokens: number;
  /** With gates closed, with gates open, and with the gates that were fitted. */
  readonly base: number;
  readonly local: number;
  readonly gated: number;
  /** Share of tokens and gates above the threshold. */
  readonly open: number;
}

/** What was fitted. */
export interface GateFit {
  /** The local experts with their gates. */
  readonly localExpert: LocalExpertPlan;
  readonly special: GateFitMeasure;
  readonly general: GateFitMeasure;
  /** Area under the curve of each gate on held-out tokens; NaN where all are of one class. */
  readonly areas: readonly number[];
}

/** Thresholds to choose from; at 1 every gate is closed. */
const THRESHOLDS = [...Array.from({ length: 19 }, (_, i) => (i + 1) / 20), 0.975, 0.99, 0.999, 1];

/**
 * Loads a checkpoint whose local experts have no gate yet, and gives it one that is closed half.
 * @throws UserError `fit-gate/no-local-expert`, `fit-gate/gated` and those of the model.
 */
export async function loadUngated(modelDir: string, own: LocalExpertPlan | null): Promise<LoadedModel> {
  if (own === null) {
    throw new UserError(
      'fit-gate/no-local-expert',
      `${modelDir} has no local experts`,
      'Train with the method local-expert and gate "none", and export the run.',
    );
  }
  if (own.gated) {
    throw new UserError(
      'fit-gate/gated',
      `${modelDir} has local experts that were trained with their gates`,
      'Gates are fitted to local experts that count in full: train with gate "none".',
    );
  }
  const { rank, mixture, scale } = own;
  const options = { rank, mixture, scale, gate: 'token' };
  return loadModel({ modelDir, method: { name: 'local-expert', options }, trains: false });
}

/** Fits the gates of a model from `loadUngated`, in its memory. @throws UserError `fit-gate/one-class`. */
export async function fitGates(model: LoadedModel, request: GateFitRequest): Promise<GateFit> {
  const { plan, store } = model;
  const { localExpert } = additionsOf(plan);
  invariant(localExpert !== null, 'the model has local experts');
  const full = executorOf(model, { ...localExpert, gated: false });
  const gates = localExpert.mixture === 'output' ? [null] : moeLayerIndices(plan);
  const [fitted, held] = [await observed(full, request, 0), await observed(full, request, 1)];
  const positives = fitted.labels.reduce((sum, label) => sum + label, 0);
  if (positives === 0 || positives === fitted.labels.length) {
    throw new UserError(
      'fit-gate/one-class',
      `local experts predict ${positives === 0 ? 'no token' : 'every token'} of the special text better, so that there is nothing to tell apart`,
      'Train them longer, lower --margin, or give general text.',
    );
  }
  const scores = gates.map((layer, index) => {
    request.onProgress(`gate ${index + 1} of ${gates.length}`);
    const rows = { features: fitted.features[index] ?? new Float32Array(), labels: fitted.labels };
    const gate = fitLogistic({ ...rows, width: plan.hiddenSize });
    (store.weight(parameterId('localGate', layer, null)).data as Float32Array).set(gate.weights);
    (store.weight(parameterId('localGateBias', layer, null)).data as Float32Array)[0] = gate.bias;
    return logisticScores(gate, held.features[index] ?? new Float32Array());
  });
  const base = await meanLoss(full, half(request.general, 1), 'base');
  const measured = async (threshold: number) => {
    request.onProgress(`threshold ${threshold}`);
    return meanLoss(executorOf(model, { ...localExpert, threshold }), half(request.general, 1));
  };
  // The loss of general text falls with the threshold, but for noise: bisection needs few passes, and what it ends at was measured.
  let [from, to] = [0, THRESHOLDS.length - 1];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((await measured(THRESHOLDS[middle] ?? 1)) > base * (1 + request.allowed)) from = middle + 1;
    else to = middle;
  }
  const threshold = THRESHOLDS[to] ?? 1;
  const chosen = { ...localExpert, threshold };
  const measure = async (batches: readonly MicroBatch[], isSpecial: boolean): Promise<GateFitMeasure> => {
    const open = scores.flatMap((values) =>
      [...values]
        .filter((_, row) => held.special[row] === Number(isSpecial))
        .map((s) => Number(s > threshold)),
    );
    return {
      tokens: batches.reduce((sum, batch) => sum + lossTargets(batch).at.length, 0),
      base: await meanLoss(full, batches, 'base'),
      local: await meanLoss(full, batches),
      gated: await meanLoss(executorOf(model, chosen), batches),
      open: open.reduce((sum, one) => sum + one, 0) / Math.max(1, open.length),
    };
  };
  return {
    localExpert: chosen,
    special: await measure(half(request.special, 1), true),
    general: await measure(half(request.general, 1), false),
    areas: scores.map((values) => areaUnderCurve(values, held.labels)),
  };
}

/** The weights of a model under other gates. */
function executorOf(model: LoadedModel, localExpert: LocalExpertPlan): Executor {
  const { store, session, runtime, arena, kernels } = model;
  return new Executor({
    plan: withAdditions(model.plan, { localExpert }),
    store,
    session,
    runtime,
    arena,
    kernels,
  });
}

/** Every second batch, from the first or the second. */
function half(batches: readonly MicroBatch[], which: 0 | 1): readonly MicroBatch[] {
  return batches.filter((_, index) => index % 2 === which);
}

async function meanLoss(
  executor: Executor,
  batches: readonly MicroBatch[],
  mode: 'base' | 'inference' = 'inference',
): Promise<number> {
  let [sum, tokens] = [0, 0];
  for (const batch of batches) {
    if (mode === 'base')
      sum += (await executor.tokenLosses(batch, 'base')).reduce((all, loss) => all + loss, 0);
    else sum += (await executor.evaluate(batch)).lossSum;
    tokens += lossTargets(batch).at.length;
  }
  return sum / Math.max(1, tokens);
}

/** Tokens with their class, the kind of text they are from (1: special), and what each gate reads of them. */
interface ObservedTokens {
  readonly labels: Uint8Array;
  readonly special: Uint8Array;
  /** `[tokens × hidden]` for each gate. */
  readonly features: readonly Float32Array[];
}

async function observed(
  full: Executor,
  { special, general, margin, tokens, onProgress }: GateFitRequest,
  which: 0 | 1,
): Promise<ObservedTokens> {
  const labels: number[] = [];
  const kinds: number[] = [];
  const features: Float32Array[][] = [];
  for (const [kind, batches] of [half(general, which), half(special, which)].entries()) {
    const all = batches.reduce((sum, batch) => sum + lossTargets(batch).at.length, 0);
    const every = Math.max(1, Math.ceil(all / tokens));
    let seen = 0;
    for (const [index, batch] of batches.entries()) {
      onProgress(`example ${index + 1} of ${batches.length}`);
      const base = await full.tokenLosses(batch, 'base');
      const local = await full.tokenLosses(batch, 'inference');
      const picked = [...base.keys()].filter(() => seen++ % every === 0);
      for (const i of picked) {
        labels.push(Number(kind === 1 && (local[i] as number) < (base[i] as number) - margin));
        kinds.push(kind);
      }
      const { at } = lossTargets(batch);
      const read = await full.gateInputs(
        batch,
        Int32Array.from(picked, (i) => at[i] as number),
      );
      for (const [gate, rows] of read.entries()) (features[gate] ??= []).push(rows);
    }
  }
  return {
    labels: Uint8Array.from(labels),
    special: Uint8Array.from(kinds),
    features: features.map(concatenated),
  };
}
