/** The parameters a plan implies, under names that are the same for every family. */
import type { DecoderPlan } from './decoder-plan.ts';

/** What a parameter does. Roles of a layer repeat in each layer, roles of an expert in each expert. */
export type ParameterRole =
  | 'embedding'
  | 'finalNorm'
  | 'head'
  | 'inputNorm'
  | 'query'
  | 'key'
  | 'value'
  | 'output'
  | 'queryNorm'
  | 'keyNorm'
  | 'postAttentionNorm'
  | 'router'
  | 'expertGate'
  | 'expertUp'
  | 'expertDown';

/** One weight tensor; matrices are `[out, in]` as checkpoints store them. */
export interface Parameter {
  /** Unique, e.g. `layers.3.experts.7.expertUp`. */
  readonly id: string;
  readonly role: ParameterRole;
  readonly layer: number | null;
  readonly expert: number | null;
  readonly shape: readonly number[];
}

/** Number of elements of a shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The id of a parameter, from its place. */
export function parameterId(role: ParameterRole, layer: number | null, expert: number | null): string {
  const parts = layer === null ? [] : [`layers.${layer}`];
  if (expert !== null) parts.push(`experts.${expert}`);
  return [...parts, role].join('.');
}

/** All parameters of a plan in forward order. A tied head has none of its own. */
export function parametersOf(plan: DecoderPlan): Parameter[] {
  const parameters: Parameter[] = [];
  const add = (
    role: ParameterRole,
    shape: readonly number[],
    layer: number | null = null,
    expert: number | null = null,
  ) => parameters.push({ id: parameterId(role, layer, expert), role, layer, expert, shape });
  const hidden = plan.hiddenSize;

  add('embedding', [plan.vocabularySize, hidden]);
  plan.layers.forEach((layer, l) => {
    const { attention, feedForward } = layer;
    const queryWidth = attention.heads * attention.headDim;
    const keyWidth = attention.keyValueHeads * attention.headDim;
    add('inputNorm', [hidden], l);
    add('query', [queryWidth, hidden], l);
    add('key', [keyWidth, hidden], l);
    add('value', [keyWidth, hidden], l);
    add('output', [hidden, queryWidth], l);
    if (attention.queryKeyNorm.kind === 'projection') {
      add('queryNorm', [queryWidth], l);
      add('keyNorm', [keyWidth], l);
    }
    add('postAttentionNorm', [hidden], l);
    add('router', [feedForward.experts, hidden], l);
    for (let e = 0; e < feedForward.experts; e++) {
      add('expertGate', [feedForward.intermediate, hidden], l, e);
      add('expertUp', [feedForward.intermediate, hidden], l, e);
      add('expertDown', [hidden, feedForward.intermediate], l, e);
    }
  });
  add('finalNorm', [hidden]);
  if (!plan.tiedHead) add('head', [plan.vocabularySize, hidden]);
  return parameters;
}

/** Parameters one token passes through: all but the experts it is not sent to. */
export function activeParameterCount(plan: DecoderPlan): number {
  return parametersOf(plan).reduce((sum, parameter) => {
    const layer = parameter.layer === null ? undefined : plan.layers[parameter.layer];
    const share =
      parameter.expert === null || layer === undefined
        ? 1
        : layer.feedForward.expertsPerToken / layer.feedForward.experts;
    return sum + elementCount(parameter.shape) * share;
  }, 0);
}
