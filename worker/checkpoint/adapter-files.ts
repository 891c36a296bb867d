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
import { digestFile, writeJsonObject, type FileDigest, type WritableFileSystem } from './file-system.ts';
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

/** What changes the function beyond rank, scale, magnitude and dropout must be off. */
const Config = z.object({
  peft_type: z.literal('LORA'),
  r: z.int().positive(),
  lora_alpha: z.number(),
  use_rslora: z.boolean().default(false),
  use_dora: z.boolean().default(false),
  lora_dropout: z.number().min(0).lt(1).nullish(),
  bias: z.literal('none').default('none'),
  rank_pattern: z.record(z.string(), z.int().positive()).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
  modules_to_save: absent,
  target_parameters: absent,
  trainable_token_indices: absent,
  layer_replication: absent,
  lora_bias: absent,
});

/** What `adapter_config.json` says of the function. */
export interface AdapterConfig {
  /** Of modules that no pattern names. */
  readonly rank: number;
  readonly alpha: number;
  /** By what the path of a module ends with, a regular expression; the first that matches counts. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** The scale is α / √rank instead of α / rank. */
  readonly rankStabilised: boolean;
  /** DoRA. */
  readonly magnitude: boolean;
  /** Part of the inputs that training leaves out at random. */
  readonly dropout: number;
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
        'Supported are LoRA and DoRA, and nothing trained besides.',
      );
    }
    const { r, lora_alpha, lora_dropout, use_rslora, use_dora, rank_pattern, alpha_pattern } = parsed.data;
    this.config = {
      rank: r,
      alpha: lora_alpha,
      rankPattern: rank_pattern ?? {},
      alphaPattern: alpha_pattern ?? {},
      rankStabilised: use_rslora,
      magnitude: use_dora,
      dropout: lora_dropout ?? 0,
    };
    for (const pattern of [this.config.rankPattern, this.config.alphaPattern].flatMap(Object.keys))
      checkPattern(file, pattern);
    this.#file = readSafetensors(join(dir, TENSORS_FILE));
  }

  /** Names of all tensors. */
  get names(): readonly string[] {
    return [...this.#file.tensors.keys()];
  }

  /** Rank and alpha of the adapter of a module. */
  sizeOf(module: string): { readonly rank: number; readonly alpha: number } {
    const { rank, alpha, rankPattern, alphaPattern } = this.config;
    return { rank: matched(rankPattern, module) ?? rank, alpha: matched(alphaPattern, module) ?? alpha };
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

/** What PEFT matches a pattern with: the whole path of a module, or its end after a dot. */
function asExpression(pattern: string): RegExp {
  return new RegExp(`^(.*\\.)?(${pattern})$`);
}

/** @throws UserError `adapter-file/config` where a pattern is no regular expression. */
function checkPattern(file: string, pattern: string): void {
  try {
    asExpression(pattern);
  } catch (error) {
    throw new UserError(
      'adapter-file/config',
      `${file}: pattern ${JSON.stringify(pattern)} is no regular expression`,
      'Expected is the end of the path of a module, such as q_proj.',
      { cause: error },
    );
  }
}

/** The value of the first pattern that matches. */
function matched(patterns: Readonly<Record<string, number>>, module: string): number | undefined {
  return Object.entries(patterns).find(([pattern]) => asExpression(pattern).test(module))?.[1];
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
  fileSystem?: WritableFileSystem,
): FileDigest[] {
  const named = tensors.map(({ name, shape, values }): NamedTensor => ({
    name,
    dtype,
    shape,
    data: () => encodeFloats(values(), dtype),
  }));
  const weights = writeSafetensors(join(dir, TENSORS_FILE), named, {
    metadata: { format: 'pt' },
    ...(fileSystem && { fileSystem }),
  });
  const file = join(dir, CONFIG_FILE);
  writeJsonObject(file, 'adapter-file', {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: about.base,
    inference_mode: true,
    r: config.rank,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    bias: 'none',
    fan_in_fan_out: false,
    use_rslora: config.rankStabilised,
    use_dora: config.magnitude,
    init_lora_weights: true,
    target_modules: about.targetModules,
    modules_to_save: null,
    rank_pattern: config.rankPattern,
    alpha_pattern: config.alphaPattern,
  });
  return [weights, digestFile(file)];
}
