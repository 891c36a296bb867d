/** A tiny dense checkpoint with random weights. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { encodeFloats, writeSafetensors } from '#worker/checkpoint/index.ts';
import { familyOf } from '#worker/families/index.ts';
import { elementCount, parametersOf } from '#worker/model/index.ts';
import { normal } from '#worker/random/index.ts';

/** Writes a Qwen3 or Llama checkpoint with two layers into the new folder `dir`. */
export function writeDenseModel(dir: string, modelType: 'qwen3' | 'llama'): void {
  const config = {
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
  };
  const family = familyOf(config);
  const plan = family.plan(config);
  const tensors = parametersOf(plan).map((parameter) => {
    const { id, shape } = parameter;
    const values = Float32Array.from(normal(1, id, elementCount(shape)), (x) =>
      shape.length === 1 ? 1 + 0.1 * x : 0.2 * x,
    );
    const name = family.stored(parameter, plan)[0]?.name ?? '';
    return { name, dtype: 'F32' as const, shape, data: () => encodeFloats(values, 'F32') };
  });
  mkdirSync(dir, { recursive: true });
  writeFileSync(path.join(dir, 'config.json'), JSON.stringify(config));
  writeSafetensors(path.join(dir, 'model.safetensors'), tensors, { metadata: { format: 'pt' } });
}
