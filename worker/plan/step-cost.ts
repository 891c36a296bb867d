/** What a token costs in training, from sizes alone. */
import {
  elementCount,
  moeLayerIndices,
  type DecoderPlan,
  type MethodSession,
  type Parameter,
} from '#worker/model/index.ts';
import type { HalfRule } from './half-weights.ts';

/** What of a model and a method costs memory and time. */
export interface ModelLayout {
  readonly plan: DecoderPlan;
  readonly parameters: readonly Parameter[];
  readonly isTrained: (parameter: Parameter) => boolean;
  /** Size of the checkpoint's tensors in bytes; frozen ones are held as stored. */
  readonly storedBytes: number;
  /** Which frozen matrices are held as int8 rows instead, and always in memory; absent: none. */
  readonly isRounded?: (parameter: Parameter) => boolean;
  /** Which frozen weights lie on a graphics adapter in float16; absent: none. */
  readonly isHalf?: HalfRule;
  /** Absent: as many experts work as the checkpoint's router chooses. */
  readonly session?: Pick<
    MethodSession,
    'routing' | 'visitedExperts' | 'wrongTokenGain' | 'adapters' | 'losses'
  >;
}

/** How many experts of decoder layer `index` a token visits, and how many are evaluated for it besides. */
export function expertsAtWork({ plan, session }: Pick<ModelLayout, 'plan' | 'session'>, index: number) {
  const feedForward = plan.layers[index]?.feedForward;
  if (feedForward?.kind !== 'moe') return { active: 0, besides: 0 };
  const { experts, expertsPerToken } = feedForward;
  const layer = moeLayerIndices(plan).indexOf(index);
  const active = Math.min(experts, session?.visitedExperts?.(feedForward, layer) ?? expertsPerToken);
  return { active, besides: session?.routing.dense?.standIn.kind === 'output' ? experts - active : 0 };
}

/**
 * Floating-point operations of the products for one token: 2 for each weight forward, 2 for the gradient of its input, 2 for its
 * own where it trains, 2 for an expert that is evaluated besides, and 2 where the base predicts the tokens first. Scores of
 * attention do not count.
 */
export function productFlops(layout: Omit<ModelLayout, 'storedBytes'>): number {
  const { plan, parameters, isTrained, session } = layout;
  const first = (session?.wrongTokenGain ?? 0) > 0 ? 2 : 0;
  const atWork = Array.from(plan.layers.keys(), (layer) => expertsAtWork(layout, layer));
  return parameters.reduce((sum, parameter) => {
    const { role, shape, layer, expert } = parameter;
    if (shape.length !== 2 || role === 'tokenEmbedding' || (role === 'embedding' && !plan.tiedHead))
      return sum;
    const each = first + (isTrained(parameter) ? 6 : 4);
    const feedForward = layer === null ? undefined : plan.layers[layer]?.feedForward;
    if (layer === null || expert === null || feedForward?.kind !== 'moe')
      return sum + each * elementCount(shape);
    const { active = 0, besides = 0 } = atWork[layer] ?? {};
    return sum + ((each * active + 2 * besides) / feedForward.experts) * elementCount(shape);
  }, 0);
}
