/**
 * Decoders without experts: Llama (arXiv 2407.21783), Qwen2 (arXiv 2407.10671) and Qwen3 (arXiv 2505.09388).
 *
 * Qwen2 has biases on query, key and value; Qwen3 normalises query and key per head. Both may have windows from some layer on.
 */
import { z } from 'zod';
import type { Family, GroupedQueryPlan } from '#worker/model/index.ts';
import { decoderFields, positive, readConfig, type DecoderConfig } from './config-fields.ts';
import { decoder, groupedQuery, preNormLayer } from './decoder-parts.ts';
import { qwenWindowFields, qwenWindowOf } from './layer-types.ts';
import { commonNames, storedBy } from './weight-names.ts';

const fields = { ...decoderFields, intermediate_size: positive };
const LlamaConfig = z.object({ ...fields, mlp_bias: z.boolean().default(false) });
const QwenConfig = z.object({ ...fields, ...qwenWindowFields });

const places: Pick<Family, 'stored' | 'moeModule'> = {
  stored: storedBy(commonNames),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};

/** Llama 2, 3 and what is stored like them. */
export const llama: Family = {
  name: 'llama',
  architecture: 'LlamaForCausalLM',
  plan(config) {
    const c = readConfig('llama', LlamaConfig, config);
    const layer = preNormLayer(c.rms_norm_eps, groupedQuery('llama', c), {
      kind: 'dense',
      intermediate: c.intermediate_size,
      ...(c.mlp_bias && { biases: true }),
    });
    return decoder('llama', c, () => layer);
  },
  ...places,
};

function qwenFamily(
  name: string,
  architecture: string,
  changes: (c: DecoderConfig) => Partial<GroupedQueryPlan>,
): Family {
  return {
    name,
    architecture,
    plan(config) {
      const c = readConfig(name, QwenConfig, config);
      const attention = groupedQuery(name, c, changes(c));
      return decoder(name, c, (index) => {
        const window = qwenWindowOf(name, c, index, (layer, from) => layer >= from);
        return preNormLayer(
          c.rms_norm_eps,
          { ...attention, ...window },
          { kind: 'dense', intermediate: c.intermediate_size },
        );
      });
    },
    ...places,
  };
}

/** Qwen2 and Qwen2.5. */
export const qwen2 = qwenFamily('qwen2', 'Qwen2ForCausalLM', () => ({ biases: 'query-key-value' }));
/** Qwen3. */
export const qwen3 = qwenFamily('qwen3', 'Qwen3ForCausalLM', (c) => ({
  queryKeyNorm: { kind: 'head', epsilon: c.rms_norm_eps },
}));
