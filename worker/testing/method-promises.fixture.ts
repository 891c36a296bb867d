/** What each method promises of a run, as checks that say in words what breaks it. */
import { invariant } from '#core/contract/errors.ts';
import {
  hasGradient,
  isAdded,
  moeLayerIndices,
  routerShapes,
  shapeOf,
  type Choice,
  type Parameter,
  type RouterShape,
} from '#worker/model/index.ts';
import type { LoadedModel } from '#worker/train/index.ts';
import { differing, paddedBatch, weightsOf, type Step } from './method-pairs.fixture.ts';

const isRouter = ({ role }: Parameter) => role === 'router' || role === 'routerBias';

/** What trains of a checkpoint, said apart from the method. Methods not named train all of it. */
const trainedOfCheckpoint: Readonly<Record<string, (parameter: Parameter, model: LoadedModel) => boolean>> = {
  'frozen-router': (parameter) => !isRouter(parameter),
  'hash-routing': (parameter) => !isRouter(parameter),
  lora: () => false,
  dora: () => false,
  smt: () => false,
  'local-expert': () => false,
  esft: ({ layer, expert }, { session, plan }) =>
    expert !== null &&
    (session.routerState().expertConfig?.experts[moeLayerIndices(plan).indexOf(layer ?? -1)] ?? []).includes(
      expert,
    ),
};

/** What should train does, what should not keeps its bits, and what had a gradient moved. */
export function* trainedProblems(
  name: string,
  model: LoadedModel,
  before: ReadonlyMap<string, Float32Array>,
  steps: readonly Step[],
): Generator<string> {
  const moved = new Set(differing(weightsOf(model), before));
  for (const parameter of model.store.parameters) {
    const { id } = parameter;
    const isOfMethod = trainedOfCheckpoint[name]?.(parameter, model) ?? true;
    const shouldTrain = isAdded(parameter) || (hasGradient(parameter) && isOfMethod);
    if (model.store.isTrained(id) !== shouldTrain) yield `${id} should ${shouldTrain ? '' : 'not '}train`;
    const hadGradient = steps.some(({ squares }) => (squares.get(id) ?? 0) > 0);
    if (moved.has(id) !== hadGradient)
      yield `${id} ${moved.has(id) ? 'moved without' : 'stayed in spite of'} a gradient`;
  }
}

const { segments } = paddedBatch();
const tokens = [...segments.keys()].filter((token) => segments[token] !== 0);
/** Those whose output counts: the last of a row predicts nothing. */
const heard = tokens.filter((token) => segments[token + 1] !== 0);

const chosenBy = ({ chosen_NK, k }: Choice, token: number) =>
  [...chosen_NK.subarray(token * k, (token + 1) * k)].filter((expert) => expert >= 0);
const visitedBy = (choice: Choice, token: number) => new Set([...chosenBy(choice, token), ...choice.always]);

/** An expert learns from the tokens sent to it, and from nothing else. */
export function* expertGradientProblems(
  { plan, store }: LoadedModel,
  { usage, squares }: Step,
): Generator<string> {
  for (const [index, layer] of moeLayerIndices(plan).entries()) {
    const { choice } = usage[index] ?? {};
    invariant(choice !== undefined, 'one usage for each MoE layer');
    const visited = (by: readonly number[]) => new Set(by.flatMap((token) => [...visitedBy(choice, token)]));
    const [sent, counting] = [visited(tokens), visited(heard)];
    for (let expert = 0; expert < shapeOf(routerShapes(plan), index).experts; expert++) {
      const own = store.parameters.filter(
        (parameter) =>
          parameter.layer === layer && parameter.expert === expert && store.isTrained(parameter.id),
      );
      const square = own.reduce((sum, { id }) => sum + (squares.get(id) ?? NaN), 0);
      const learns = square > 0;
      if (learns && !sent.has(expert)) yield `expert ${expert} of layer ${layer} learns without a token`;
      if (!learns && own.length > 0 && counting.has(expert))
        yield `expert ${expert} of layer ${layer} has tokens and does not learn`;
    }
  }
}

/** Methods under which tokens go to experts that the groups of a router would keep from them. */
const beyondGroups = new Set(['evomoe', 'base-assignment', 'hash-routing', 'stablemoe']);

/** Experts that see every token: all in dense training, condensers from the second step on, else none. */
const alwaysOf = (name: string, experts: number, step: number) =>
  ({ 'ds-moe': experts, 'expert-condenser': step })[name] ?? 0;

/** Distinct experts of the layer, as many as the checkpoint chooses, inside its best groups. */
export function* choiceProblems(
  name: string,
  { router, experts, expertsPerToken }: RouterShape,
  choice: Choice,
  step: number,
): Generator<string> {
  const load_E = new Float64Array(experts);
  const { count, kept } = router.groups ?? { count: 1, kept: 1 };
  for (const token of tokens) {
    const chosen = chosenBy(choice, token);
    const isRight =
      new Set(chosen).size === chosen.length &&
      chosen.every((expert) => expert < experts) &&
      (name === 'evomoe' ? chosen.length >= expertsPerToken : chosen.length === expertsPerToken);
    if (!isRight) yield `token ${token} goes to experts ${chosen.join(', ')}`;
    const groups = new Set(chosen.map((expert) => Math.floor((expert * count) / experts)));
    if (groups.size > kept && !beyondGroups.has(name)) yield `token ${token} goes to ${groups.size} groups`;
    for (const expert of chosen) load_E[expert] = (load_E[expert] ?? 0) + 1;
  }
  const most = Math.max(...load_E);
  if (name === 'base-assignment' && most > Math.ceil((tokens.length * expertsPerToken) / experts))
    yield `an expert has ${most} tokens`;
  const always = new Set(choice.always).size;
  if (always !== alwaysOf(name, experts, step)) yield `${always} experts see every token in step ${step + 1}`;
}

/** Methods whose gate weights are not the scores of the router's own logits. */
const ownGate = new Set(['expert-condenser', 'transformed-gate', 'hash-routing']);

/** Gate weights in use are `M ⊙ p`, over their sum where the router says so, times its scale: no bias enters. */
export async function gateWeightProblems(name: string, { plan, executor }: LoadedModel): Promise<string[]> {
  const problems: string[] = [];
  const { routing } = await executor.logits(paddedBatch(), new Int32Array(0));
  for (const [index, { logits_NE, weights_NE, choice }] of routing.entries()) {
    const { router, experts } = shapeOf(routerShapes(plan), index);
    if (ownGate.has(name) || router.sparseMixer !== undefined) continue;
    for (const token of tokens) {
      const logits_E = [...logits_NE.subarray(token * experts, (token + 1) * experts)];
      const total = logits_E.reduce((sum, logit) => sum + Math.exp(logit), 0);
      const score_E = logits_E.map((logit) =>
        router.scoring === 'softmax' ? Math.exp(logit) / total : 1 / (1 + Math.exp(-logit)),
      );
      const visited = visitedBy(choice, token);
      const sum = score_E.reduce((all, score, expert) => all + (visited.has(expert) ? score : 0), 0);
      const factor = (router.scale ?? 1) / (router.normalise ? sum : 1);
      score_E.forEach((score, expert) => {
        const wanted = visited.has(expert) ? score * factor : 0;
        const weight = weights_NE[token * experts + expert] ?? NaN;
        if (!(Math.abs(weight - wanted) < 1e-5))
          problems.push(`layer ${index}, token ${token}: expert ${expert} counts ${weight}, not ${wanted}`);
      });
    }
  }
  return problems;
}

/** A bias moves by its speed or stays: towards the mean use of experts in balancing, away from it in condensing. */
export function* biasProblems(name: string, steps: readonly Step[]): Generator<string> {
  const condenses = name === 'expert-condenser';
  let before_LE: Float32Array = new Float32Array(steps[0]?.bias_LE.length ?? 0);
  for (const [step, { bias_LE, usage }] of steps.entries()) {
    const speed = condenses && step > 0 ? 1 / 32 : 1 / 16;
    for (const [layer, { soft_E, hard_E }] of bias_LE.length === 0 ? [] : usage.entries()) {
      const used_E = [...(condenses ? soft_E : hard_E)];
      const mean = used_E.reduce((sum, used) => sum + used, 0) / used_E.length;
      for (const [expert, used] of used_E.entries()) {
        const at = layer * used_E.length + expert;
        const wanted = speed * Math.sign(used - mean) * (condenses ? 1 : -1);
        const change = (bias_LE[at] ?? NaN) - (before_LE[at] ?? NaN);
        if (change !== wanted + 0)
          yield `step ${step + 1}: bias of expert ${expert} of layer ${layer} moves by ${change}, not ${wanted}`;
      }
    }
    before_LE = bias_LE;
  }
}
