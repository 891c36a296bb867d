/** Attention with key and value heads shared by groups of query heads. */
import { op, type Value } from '#worker/graph/index.ts';
import type { GroupedQueryPlan } from '../decoder-plan.ts';
import { gateWidth, valueDimOf } from '../attention-parameters.ts';
import { mixValues, shareHeads, splitHeads, type AttentionSite } from './attention-site.ts';
import { normalised } from './norm.ts';
import { linear } from './weight.ts';

/** The context of each token, [N, heads · headDim]. */
export function groupedQueryContext(attention: GroupedQueryPlan, site: AttentionSite): Value {
  const { heads, keyValueHeads, headDim, queryKeyNorm, rope, biases } = attention;
  const { weight } = site;
  const valueDim = valueDimOf(attention);
  const project = (role: 'query' | 'key' | 'value', count: number) => {
    const width = count * (role === 'value' ? valueDim : headDim);
    const bias = biases === undefined ? undefined : weight(`${role}Bias`, [width]);
    return site.save(`${role}Projection`, linear(site.x_NH, site.matrix(role, [width, site.hidden]), bias));
  };
  const clip = (value: Value) =>
    attention.clip === null ? value : op.clip(value, { min: -attention.clip, max: attention.clip });
  const normalise = (value: Value, role: 'queryNorm' | 'keyNorm', kind: typeof queryKeyNorm.kind) =>
    queryKeyNorm.kind === 'none' || queryKeyNorm.kind !== kind
      ? value
      : normalised(value, { kind: 'rms', epsilon: queryKeyNorm.epsilon }, role, weight);
  const rotate = (value: Value) => (rope === null ? value : site.rotate(value, rope));
  const turned = (role: 'query' | 'key', count: number) => {
    const norm = `${role}Norm` as const;
    const whole = clip(normalise(project(role, count), norm, 'projection'));
    const split = normalise(splitHeads(whole, count, headDim), norm, 'head');
    return normalise(rotate(split), norm, 'rotated-head');
  };
  const query = turned('query', heads);
  const key = shareHeads(turned('key', keyValueHeads), keyValueHeads, heads, headDim);
  const projected = splitHeads(clip(project('value', keyValueHeads)), keyValueHeads, valueDim);
  const value = shareHeads(projected, keyValueHeads, heads, valueDim);
  const sinks = attention.sinks
    ? { sinks_Q11: op.unsqueeze(weight('sinks', [heads]), { axes: [1, 2] }) }
    : {};
  const mixed_NC = mixValues(
    site,
    { query, key, value },
    { scale: attention.scale, width: heads * valueDim, ...sinks },
  );
  const { valueScale } = attention;
  return gated(attention, site, valueScale === undefined ? mixed_NC : op.mul(mixed_NC, valueScale));
}

/** The context times its gate. */
function gated(attention: GroupedQueryPlan, site: AttentionSite, context_NC: Value): Value {
  const { outputGate, heads } = attention;
  if (outputGate === undefined) return context_NC;
  const mixed_NC = site.save('mixed', context_NC);
  const width = gateWidth(attention, outputGate);
  const gate = site.save(
    'gateProjection',
    linear(site.x_NH, site.matrix('outputGate', [width, site.hidden])),
  );
  switch (outputGate) {
    case 'sigmoid':
      return op.mul(mixed_NC, op.sigmoid(gate));
    case 'softplus-heads': {
      const valueDim = valueDimOf(attention);
      const heads_NQD = op.reshape(mixed_NC, ['N', heads, valueDim]);
      const scaled_NQD = op.mul(heads_NQD, op.unsqueeze(op.softplus(gate), { axes: [2] }));
      return op.reshape(scaled_NQD, ['N', heads * valueDim]);
    }
  }
}
