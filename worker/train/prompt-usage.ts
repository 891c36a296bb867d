/** Where two models send the tokens of questions, and how far their experts are apart. */
import { DriftSum, RoutingSum, type RoutingDrift } from '#core/report/index.ts';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { adaptedValues, isAdapted, moeLayerIndices, parameterId } from '#worker/model/index.ts';
import type { LoadedModel } from './load-model.ts';

/** A tokenized prompt; only the tokens of its question are looked at. */
export interface Prompt {
  readonly ids: Int32Array;
  /** 1 for a token of the question. */
  readonly question: Uint8Array;
}

/** Routing of prompts in two models, by MoE layer. */
export interface PromptComparison {
  /** For each prompt the share of its question tokens that chose each expert. */
  readonly base: readonly (readonly Float64Array[])[];
  readonly tuned: readonly (readonly Float64Array[])[];
  /** Drift over all question tokens, each model with its own hidden states. */
  readonly drift: readonly RoutingDrift[];
}

/** Routes every prompt through both models, which have the same layers and experts. @param show called before each. */
export async function comparePrompts(
  base: LoadedModel,
  tuned: LoadedModel,
  prompts: readonly Prompt[],
  show: (done: number) => void,
): Promise<PromptComparison> {
  const layers = moeLayerIndices(base.plan).length;
  const usage = { base: [] as Float64Array[][], tuned: [] as Float64Array[][] };
  for (const side of [usage.base, usage.tuned]) for (let l = 0; l < layers; l++) side.push([]);
  const drifts: DriftSum[] = [];
  for (const [done, prompt] of prompts.entries()) {
    show(done);
    const isQuestion = (token: number) => prompt.question[token] === 1;
    const batch = unpaddedBatch(prompt.ids);
    const nowhere = new Int32Array(0);
    const [before, after] = [
      (await base.executor.logits(batch, nowhere)).routing,
      (await tuned.executor.logits(batch, nowhere)).routing,
    ];
    before.forEach((view, l) => {
      const other = after[l] ?? view;
      const experts = view.logits_NE.length / prompt.ids.length;
      const of = ({ logits_NE, choice }: typeof view) => ({ logits_NE, ...choice });
      const frequency_E = (one: typeof view) => {
        const sum = new RoutingSum(experts);
        sum.add(of(one), isQuestion);
        return sum.activationFrequency_E();
      };
      usage.base[l]?.push(frequency_E(view));
      usage.tuned[l]?.push(frequency_E(other));
      (drifts[l] ??= new DriftSum(experts)).add(of(view), of(other), isQuestion);
    });
    // Lets signals in.
    await new Promise(setImmediate);
  }
  return { ...usage, drift: drifts.map((sum) => sum.means()) };
}

/** Reads weights of the checkpoint by id, with the adapters beside them merged. */
function mergedWeights({ store, session }: LoadedModel): (id: string) => Float32Array {
  const byId = new Map(store.parameters.map((parameter) => [parameter.id, parameter]));
  const { adapters } = session;
  return (id) => {
    const [parameter, values] = [byId.get(id), store.values(id)];
    return parameter !== undefined && adapters && isAdapted(adapters, parameter)
      ? adaptedValues(adapters, parameter, values, (part) => store.values(part))
      : values;
  };
}

/** ‖W₁ − W₀‖ / ‖W₀‖ over the three matrices of each expert, `[MoE layers][experts]`. */
export function weightChanges(base: LoadedModel, tuned: LoadedModel): Float64Array[] {
  const [weightBefore, weightAfter] = [mergedWeights(base), mergedWeights(tuned)];
  return moeLayerIndices(base.plan).map((layer) => {
    const { feedForward } = base.plan.layers[layer] ?? {};
    return Float64Array.from(
      { length: feedForward?.kind === 'moe' ? feedForward.experts : 0 },
      (_, expert) => {
        let [change, size] = [0, 0];
        for (const role of ['expertGate', 'expertUp', 'expertDown'] as const) {
          const id = parameterId(role, layer, expert);
          // An expert of width 0 has no weights.
          if (!base.store.has(id) || !tuned.store.has(id)) continue;
          const [before, after] = [weightBefore(id), weightAfter(id)];
          for (let i = 0; i < before.length; i++) {
            change += ((after[i] as number) - (before[i] as number)) ** 2;
            size += (before[i] as number) ** 2;
          }
        }
        return Math.sqrt(change / size);
      },
    );
  });
}
