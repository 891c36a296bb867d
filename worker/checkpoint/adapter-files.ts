/**
 * Low-rank adapters in the format of PEFT: `adapter_config.json` and `adapter_model.safetensors`, whose tensors are named
 * by the module they belong to: `base_model.model.<module>.lora_A.weight` `[rank, in]`, `….lora_B.weight` `[out, rank]`
 * and, for DoRA, `….lora_magnitude_vector` `[out]`.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { explainIssues } from '#core/contract/explain-issues.ts';
import { decodeFloats, encodeFloats, isFloatDtype, type FloatDtype } from './dtype.ts';
import { digestFile, writeJsonObject, type FileDigest } from './file-system.ts';
import { readJsonObject } from './json-file.ts';
import { readSafetensors, writeSafetensors, type NamedTensor, type SafetensorsFile } from './safetensors.ts';

const CONFIG_FILE = 'adapter_config.json';
const TENSORS_FILE = 'adapter_model.safetensors';
const PREFIX = 'base_model.model.';

const nothing = z.union([
  z.null(),
  z.literal(false),
  z.array(z.unknown()).max(0),
  z.record(z.string(), z.never()),
]);
const absent = nothing.optional();

/** What changes the function beyond rank, scale and magnitude must be off. */
const Config = z.object({
  peft_type: z.literal('LORA'),
  r: z.int().positive(),
  lora_alpha: z.number(),
  use_rslora: z.boolean().default(false),
  use_dora: z.boolean().default(false),
  bias: z.literal('none').default('none'),
  rank_pattern: absent,
  alpha_pattern: absent,
  modules_to_save: absent,
  target_parameters: absent,
  trainable_token_indices: absent,
  layer_replication: absent,
  lora_bias: absent,
});

/** What `adapter_config.json` says of the function. */
export interface AdapterConfig {
  readonly rank: number;
  readonly alpha: number;
  /** The scale is α / √rank instead of α / rank. */
  readonly rankStabilised: boolean;
  /** DoRA. */
  readonly magnitude: boolean;
}

const SUFFIXES = {
  loraA: ['lora_A.weight'],
  loraB: ['lora_B.weight'],
  // The second is what later versions write.
  magnitude: ['lora_magnitude_vector', 'lora_magnitude_vector.weight'],
} as const;

/** A part of an adapter. */
export type AdapterFilePart = keyof typeof SUFFIXES;

/** The name of a tensor of an adapter file. @param module path of the adapted module, as in the published model. */
export function adapterTensorName(module: string, part: AdapterFilePart): string {
  return `${PREFIX}${module}.${SUFFIXES[part][0]}`;
}

/** An adapter folder, open for reading; the caller closes it. */
export class AdapterFolder {
  readonly config: AdapterConfig;
  readonly #file: SafetensorsFile;

  /** @throws UserError `adapter-file/…` or `safetensors/…` naming file and field. */
  constructor(dir: string) {
    const file = join(dir, CONFIG_FILE);
    const parsed = Config.safeParse(readJsonObject(file, 'adapter-file'));
    if (!parsed.success) {
      throw new UserError(
        'adapter-file/config',
        `${file}: ${explainIssues(parsed.error, Config)}`,
        'Supported are LoRA and DoRA with one rank and one alpha for all modules, and nothing trained besides.',
      );
    }
    const { r, lora_alpha, use_rslora, use_dora } = parsed.data;
    this.config = { rank: r, alpha: lora_alpha, rankStabilised: use_rslora, magnitude: use_dora };
    this.#file = readSafetensors(join(dir, TENSORS_FILE));
  }

  /** Names of all tensors. */
  get names(): readonly string[] {
    return [...this.#file.tensors.keys()];
  }

  /** Name of the tensor that holds a part; undefined where the module has no such adapter. */
  nameOf(module: string, part: AdapterFilePart): string | undefined {
    return SUFFIXES[part]
      .map((suffix) => `${PREFIX}${module}.${suffix}`)
      .find((name) => this.#file.tensors.has(name));
  }

  /** The tensor `name` in float32. @throws UserError `adapter-file/tensor` when it is not floats of `shape`. */
  read(name: string, shape: readonly number[]): Float32Array {
    const entry = this.#file.tensors.get(name);
    if (entry === undefined || !isFloatDtype(entry.dtype) || entry.shape.join() !== shape.join()) {
      const found = entry === undefined ? 'missing' : `${entry.dtype} ${entry.shape.join(' × ')}`;
      throw new UserError(
        'adapter-file/tensor',
        `${this.#file.file}: tensor ${name} is ${found}; the model and ${CONFIG_FILE} imply floats ${shape.join(' × ')}`,
        'The adapter belongs to another model, or its two files do not belong together.',
      );
    }
    return decodeFloats(this.#file.read(name), entry.dtype);
  }

  close(): void {
    this.#file.close();
  }
}

/** One tensor to write, under the name of `adapterTensorName`. */
export interface AdapterTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: () => Float32Array;
}

/**
 * Writes an adapter folder that PEFT loads onto the published model.
 * @param about the base model's name, and what PEFT matches module names with.
 * @throws UserError `adapter-file/…` when the disk refuses.
 */
export function writeAdapterFolder(
  dir: string,
  config: AdapterConfig,
  about: { readonly base: string; readonly targetModules: readonly string[] },
  tensors: readonly AdapterTensor[],
  dtype: FloatDtype,
): FileDigest[] {
  const named = tensors.map(({ name, shape, values }): NamedTensor => ({
    name,
    dtype,
    shape,
    data: () => encodeFloats(values(), dtype),
  }));
  const weights = writeSafetensors(join(dir, TENSORS_FILE), named, { metadata: { format: 'pt' } });
  const file = join(dir, CONFIG_FILE);
  writeJsonObject(file, 'adapter-file', {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: about.base,
    inference_mode: true,
    r: config.rank,
    lora_alpha: config.alpha,
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: false,
    use_rslora: config.rankStabilised,
    use_dora: config.magnitude,
    init_lora_weights: true,
    target_modules: about.targetModules,
    modules_to_save: null,
    rank_pattern: {},
    alpha_pattern: {},
  });
  return [weights, digestFile(file)];
}
