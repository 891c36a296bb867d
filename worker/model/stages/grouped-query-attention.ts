/** Attention with key and value heads shared by groups of query heads. */
import { invariant } from '#core/contract/errors.ts';
import { op, type Value } from '#worker/graph/index.ts';
import type { GroupedQueryPlan } from '../decoder-plan.ts';
import { gateWidth, valueDimOf } from '../attention-parameters.ts';
import { splitHeads, type AttentionSite, type Heads } from './attention-site.ts';
import { normalised } from './norm.ts';
import { linear } from './weight.ts';

/** The heads of each token. */
export function groupedQueryHeads(attention: GroupedQueryPlan, site: AttentionSite): Heads {
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
  const { outputGate } = attention;
  return {
    query: turned('query', heads),
    key: turned('key', keyValueHeads),
    value: splitHeads(clip(project('value', keyValueHeads)), keyValueHeads, valueDim),
    ...(outputGate !== undefined && {
      gate: site.save(
        'gateProjection',
        linear(site.x_NH, site.matrix('outputGate', [gateWidth(attention, outputGate), site.hidden])),
      ),
    }),
  };
}

/** The context times its gate, where the plan has one. */
export function gatedContext(
  { outputGate, heads, ...attention }: GroupedQueryPlan,
  mixed_NC: Value,
  gate: Value | undefined,
): Value {
  if (outputGate === undefined) return mixed_NC;
  invariant(gate !== undefined, 'a gated context has a gate');
  switch (outputGate) {
    case 'sigmoid':
      return op.mul(mixed_NC, op.sigmoid(gate));
    case 'softplus-heads': {
      const valueDim = attention.valueDim ?? attention.headDim;
      const heads_NQD = op.reshape(mixed_NC, ['N', heads, valueDim]);
      const scaled_NQD = op.mul(heads_NQD, op.unsqueeze(op.softplus(gate), { axes: [2] }));
      return op.reshape(scaled_NQD, ['N', heads * valueDim]);
    }
  }
}
