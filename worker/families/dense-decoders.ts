/**
 * Decoders without experts: Llama (arXiv 2407.21783), Qwen2 (arXiv 2407.10671) and Qwen3 (arXiv 2505.09388).
 *
 * Qwen2 has biases on query, key and value; Qwen3 normalises query and key per head.
 */
import { z } from 'zod';
import type { Family, GroupedQueryPlan } from '#worker/model/index.ts';
import { decoderFields, only, positive, readConfig, type DecoderConfig } from './config-fields.ts';
import { decoder, groupedQuery, preNormLayer } from './decoder-parts.ts';
import { commonNames, storedBy } from './weight-names.ts';

const Config = z.object({
  ...decoderFields,
  intermediate_size: positive,
  mlp_bias: only(false),
  use_sliding_window: only(false),
});

function denseFamily(
  name: string,
  architecture: string,
  attention: (c: DecoderConfig) => Partial<GroupedQueryPlan>,
): Family {
  return {
    name,
    architecture,
    plan(config) {
      const c = readConfig(name, Config, config);
      const layer = preNormLayer(c.rms_norm_eps, groupedQuery(name, c, attention(c)), {
        kind: 'dense',
        intermediate: c.intermediate_size,
      });
      return decoder(name, c, () => layer);
    },
    stored: storedBy(commonNames),
    moeModule: (layer) => `model.layers.${layer}.mlp`,
  };
}

/** Llama 2, 3 and what is stored like them. */
export const llama = denseFamily('llama', 'LlamaForCausalLM', () => ({}));
/** Qwen2 and Qwen2.5. */
export const qwen2 = denseFamily('qwen2', 'Qwen2ForCausalLM', () => ({ biases: 'query-key-value' }));
/** Qwen3. */
export const qwen3 = denseFamily('qwen3', 'Qwen3ForCausalLM', (c) => ({
  queryKeyNorm: { kind: 'head', epsilon: c.rms_norm_eps },
}));
