/** Sizes of an attention plan: its parameters, and the values worth keeping for its backward pass. */
import type { AttentionPlan, GroupedQueryPlan, LatentPlan } from './decoder-plan.ts';
import type { RoleShape, WeightRole } from './parameter-roles.ts';

/** Rotated elements of a head of latent attention. */
export function rotatedDim(attention: LatentPlan): number {
  return 2 * attention.rope.inverseFrequencies.length;
}

/** Width of a value head of grouped-query attention. */
export function valueDimOf(attention: GroupedQueryPlan): number {
  return attention.valueDim ?? attention.headDim;
}

/** Whether values are mixed by a convolution, not by scores. */
export function isConvolution(attention: AttentionPlan): boolean {
  return attention.kind === 'grouped-query' && attention.convolution !== undefined;
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
  const valueWidth = attention.keyValueHeads * valueDimOf(attention);
  const contextWidth = attention.heads * valueDimOf(attention);
  const roles: RoleShape[] = [
    ['query', [queryWidth, hidden]],
    ['key', [keyWidth, hidden]],
    ['value', [valueWidth, hidden]],
    ['output', [hidden, contextWidth]],
  ];
  if (biases !== undefined)
    roles.push(['queryBias', [queryWidth]], ['keyBias', [keyWidth]], ['valueBias', [valueWidth]]);
  if (biases === 'all') roles.push(['outputBias', [hidden]]);
  if (queryKeyNorm.kind !== 'none') {
    const whole = queryKeyNorm.kind === 'projection';
    roles.push(['queryNorm', [whole ? queryWidth : attention.headDim]]);
    roles.push(['keyNorm', [whole ? keyWidth : attention.headDim]]);
  }
  if (attention.sinks) roles.push(['sinks', [attention.heads]]);
  if (attention.convolution !== undefined)
    roles.push(['convolution', [attention.headDim, 1, attention.convolution]]);
  if (attention.outputGate !== undefined)
    roles.push(['outputGate', [gateWidth(attention, attention.outputGate), hidden]]);
  return roles;
}

/** Width of the projection that gates the context. */
export function gateWidth(
  attention: GroupedQueryPlan,
  gate: NonNullable<GroupedQueryPlan['outputGate']>,
): number {
  switch (gate) {
    case 'sigmoid':
      return attention.heads * valueDimOf(attention);
    case 'softplus-heads':
      return attention.heads;
  }
}

function latentParameters(attention: LatentPlan, hidden: number): RoleShape[] {
  const { heads, queryRank, keyValueRank, contentDim, valueDim, biases = false } = attention;
  const bias = (role: WeightRole, width: number): RoleShape[] => (biases ? [[role, [width]]] : []);
  const queryWidth = heads * (contentDim + rotatedDim(attention));
  const query: RoleShape[] =
    queryRank === null
      ? [['query', [queryWidth, hidden]]]
      : [
          ['queryDown', [queryRank, hidden]],
          ...bias('queryDownBias', queryRank),
          ['queryDownNorm', [queryRank]],
          ['query', [queryWidth, queryRank]],
        ];
  return [
    ...query,
    ['keyValueDown', [keyValueRank + rotatedDim(attention), hidden]],
    ...bias('keyValueDownBias', keyValueRank + rotatedDim(attention)),
    ['keyValueDownNorm', [keyValueRank]],
    ['keyValueUp', [heads * (contentDim + valueDim), keyValueRank]],
    ['output', [hidden, heads * valueDim]],
    ...bias('outputBias', hidden),
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
        valueProjection: attention.keyValueHeads * valueDimOf(attention),
        ...(attention.outputGate !== undefined && {
          gateProjection: gateWidth(attention, attention.outputGate),
          mixed: attention.heads * valueDimOf(attention),
        }),
        context: attention.heads * valueDimOf(attention),
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
