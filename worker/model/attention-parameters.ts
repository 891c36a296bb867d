/** Sizes of an attention plan: its parameters, and the values worth keeping for its backward pass. */
import type { AttentionPlan, GroupedQueryPlan, LatentPlan } from './decoder-plan.ts';
import type { RoleShape } from './parameter-roles.ts';

/** Rotated elements of a head of latent attention. */
export function rotatedDim(attention: LatentPlan): number {
  return 2 * attention.rope.inverseFrequencies.length;
}

/** Parameters of the attention of one layer, without its norms around it. */
export function attentionParameters(attention: AttentionPlan, hidden: number): readonly RoleShape[] {
  switch (attention.kind) {
    case 'grouped-query':
      return groupedQueryParameters(attention, hidden);
    case 'latent':
      return latentParameters(attention, hidden);
  }
}

function groupedQueryParameters(attention: GroupedQueryPlan, hidden: number): RoleShape[] {
  const { queryKeyNorm, biases } = attention;
  const queryWidth = attention.heads * attention.headDim;
  const keyWidth = attention.keyValueHeads * attention.headDim;
  const roles: RoleShape[] = [
    ['query', [queryWidth, hidden]],
    ['key', [keyWidth, hidden]],
    ['value', [keyWidth, hidden]],
    ['output', [hidden, queryWidth]],
  ];
  if (biases !== undefined)
    roles.push(['queryBias', [queryWidth]], ['keyBias', [keyWidth]], ['valueBias', [keyWidth]]);
  if (biases === 'all') roles.push(['outputBias', [hidden]]);
  if (queryKeyNorm.kind !== 'none') {
    const whole = queryKeyNorm.kind === 'projection';
    roles.push(['queryNorm', [whole ? queryWidth : attention.headDim]]);
    roles.push(['keyNorm', [whole ? keyWidth : attention.headDim]]);
  }
  if (attention.sinks) roles.push(['sinks', [attention.heads]]);
  return roles;
}

function latentParameters(attention: LatentPlan, hidden: number): RoleShape[] {
  const { heads, queryRank, keyValueRank, contentDim, valueDim } = attention;
  const queryWidth = heads * (contentDim + rotatedDim(attention));
  const query: RoleShape[] =
    queryRank === null
      ? [['query', [queryWidth, hidden]]]
      : [
          ['queryDown', [queryRank, hidden]],
          ['queryDownNorm', [queryRank]],
          ['query', [queryWidth, queryRank]],
        ];
  return [
    ...query,
    ['keyValueDown', [keyValueRank + rotatedDim(attention), hidden]],
    ['keyValueDownNorm', [keyValueRank]],
    ['keyValueUp', [heads * (contentDim + valueDim), keyValueRank]],
    ['output', [hidden, heads * valueDim]],
  ];
}

/**
 * Values of the forward pass that the backward pass reads, with their width per token: everything that costs a matrix
 * product but the scores.
 */
export function attentionSaved(attention: AttentionPlan): Readonly<Record<string, number>> {
  switch (attention.kind) {
    case 'grouped-query': {
      const queryWidth = attention.heads * attention.headDim;
      const keyWidth = attention.keyValueHeads * attention.headDim;
      return {
        queryProjection: queryWidth,
        keyProjection: keyWidth,
        valueProjection: keyWidth,
        context: queryWidth,
      };
    }
    case 'latent': {
      const { heads, queryRank, keyValueRank, contentDim, valueDim } = attention;
      return {
        ...(queryRank === null ? {} : { queryLatent: queryRank }),
        queryProjection: heads * (contentDim + rotatedDim(attention)),
        keyValueLatent: keyValueRank + rotatedDim(attention),
        keyValueProjection: heads * (contentDim + valueDim),
        context: heads * valueDim,
      };
    }
  }
}
