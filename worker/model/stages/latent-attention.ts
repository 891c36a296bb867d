/** Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, equations 9 to 19), uncompressed for training. */
import { invariant } from '#core/contract/errors.ts';
import { op, type Value } from '#worker/graph/index.ts';
import { rotatedDim } from '../attention-parameters.ts';
import type { LatentPlan } from '../decoder-plan.ts';
import { splitHeads, type AttentionSite, type Heads } from './attention-site.ts';
import { normalised } from './norm.ts';
import { linear } from './weight.ts';

function pair(values: readonly Value[]): readonly [Value, Value] {
  const [first, second] = values;
  invariant(first !== undefined && second !== undefined, 'a split in two gives two values');
  return [first, second];
}

/** The heads of each token, keys and values expanded. */
export function latentHeads(attention: LatentPlan, site: AttentionSite): Heads {
  const { heads, contentDim, valueDim, keyValueRank, rope } = attention;
  const rotated = rotatedDim(attention);
  const { weight, matrix } = site;
  const downWidth = keyValueRank + rotated;
  const norm = { kind: 'rms', epsilon: attention.epsilon } as const;
  const cut = (value: Value, ...sizes: readonly number[]) => pair(op.split(value, { axis: -1, sizes }));

  const query_NQ = site.save('queryProjection', latentQuery(attention, site));
  const [queryContent, queryPart] = cut(
    splitHeads(query_NQ, heads, contentDim + rotated),
    contentDim,
    rotated,
  );
  const query = op.concat([queryContent, site.rotate(queryPart, rope)], { axis: 3 });

  const down_NL = site.save(
    'keyValueLatent',
    linear(
      site.x_NH,
      matrix('keyValueDown', [downWidth, site.hidden]),
      attention.biases && weight('keyValueDownBias', [downWidth]),
    ),
  );
  const [latent_NL, keyPart_NR] = cut(down_NL, keyValueRank, rotated);
  const up_NV = site.save(
    'keyValueProjection',
    linear(
      normalised(latent_NL, norm, 'keyValueDownNorm', weight),
      matrix('keyValueUp', [heads * (contentDim + valueDim), keyValueRank]),
    ),
  );
  const [keyContent, value] = cut(splitHeads(up_NV, heads, contentDim + valueDim), contentDim, valueDim);
  const keyPart_B1SR = site.rotate(splitHeads(keyPart_NR, 1, rotated), rope);
  const sharedKey = op.expand(keyPart_B1SR, ['B', heads, 'S', rotated]);
  return { query, key: op.concat([keyContent, sharedKey], { axis: 3 }), value };
}

function latentQuery(attention: LatentPlan, site: AttentionSite): Value {
  const { queryRank, heads, contentDim } = attention;
  const width = heads * (contentDim + rotatedDim(attention));
  if (queryRank === null) return linear(site.x_NH, site.matrix('query', [width, site.hidden]));
  const down = site.save(
    'queryLatent',
    linear(
      site.x_NH,
      site.matrix('queryDown', [queryRank, site.hidden]),
      attention.biases && site.weight('queryDownBias', [queryRank]),
    ),
  );
  const norm = { kind: 'rms', epsilon: attention.epsilon } as const;
  const latent = normalised(down, norm, 'queryDownNorm', site.weight);
  return linear(latent, site.matrix('query', [width, queryRank]));
}
