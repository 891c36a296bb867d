/** A tiny dense checkpoint with random weights. */
import { writeRandomModel } from '#worker/testing/index.ts';

/** Writes a Qwen3 or Llama checkpoint with two layers into the new folder `dir`. @param more fields of its config. */
export function writeDenseModel(
  dir: string,
  modelType: 'qwen3' | 'llama',
  more: Readonly<Record<string, unknown>> = {},
): void {
  writeRandomModel(dir, {
    model_type: modelType,
    architectures: [modelType === 'qwen3' ? 'Qwen3ForCausalLM' : 'LlamaForCausalLM'],
    vocab_size: 199,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 8,
    rms_norm_eps: 1e-6,
    eos_token_id: 1,
    ...more,
  });
}
