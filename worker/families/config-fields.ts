/** Fields that many families' `config.json` share, in the layouts found on published and re-saved checkpoints. */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { explainIssues } from '#core/contract/explain-issues.ts';
import type { ActivationPlan } from '#worker/model/index.ts';
import { ropeFields } from './rope-config.ts';

/** A size. The bounds are far above what any model has: a damaged file must not ask for billions of anything. */
export const positive = z
  .int()
  .positive()
  .max(2 ** 24);
const layerCount = z.int().positive().max(512);
/** A number of experts; see `positive` for the bound. */
export const expertCount = z.int().positive().max(2048);

/** A field whose other values change the computation in a way that is not supported. */
export const only = <V extends string | number | boolean | null>(value: V) =>
  z.literal(value, { error: `only ${JSON.stringify(value)} is supported` }).nullish();

/** A field that this family does not read, though others do. */
export const unread = z
  .unknown()
  .optional()
  .transform(() => undefined);

/** One id, a list of ids, or none. */
const tokenIds = z
  .union([z.int(), z.array(z.int())])
  .nullish()
  .transform((ids): number[] =>
    ids === null || ids === undefined ? [] : typeof ids === 'number' ? [ids] : ids,
  );

/** What `hidden_act` may say: the name of a function in transformers' `ACT2FN`. Spellings of tanh's approximation differ by rounding. */
const activations = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_pytorch_tanh: 'gelu-tanh',
  gelu_python_tanh: 'gelu-tanh',
  gelu_new: 'gelu-tanh',
  gelu_fast: 'gelu-tanh',
  gelu_accurate: 'gelu-tanh',
  quick_gelu: 'quick-gelu',
  relu: 'relu',
  relu2: 'relu-squared',
} as const;

/** Fields of every family. */
export const decoderFields = {
  vocab_size: positive,
  hidden_size: positive,
  num_hidden_layers: layerCount,
  num_attention_heads: positive,
  num_key_value_heads: positive.nullish(),
  head_dim: positive.nullish(),
  hidden_act: z
    .enum(Object.keys(activations) as (keyof typeof activations)[])
    .nullish()
    .transform((name): ActivationPlan | undefined => {
      const kind = activations[name ?? 'silu'];
      return kind === 'silu' ? undefined : { kind };
    }),
  attention_bias: z.boolean().nullish(),
  max_position_embeddings: positive.default(4096),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: z.boolean().default(false),
  pad_token_id: z.int().nullish(),
  eos_token_id: tokenIds,
  router_aux_loss_coef: z.number().nullish(),
  quantization_config: z.null({ error: 'quantised weights are not supported' }).optional(),
  ...ropeFields,
};

/** Number of experts under either of its names: libraries rename it when they save a config again. */
export const expertFields = {
  num_experts: expertCount.nullish(),
  num_local_experts: expertCount.nullish(),
  n_routed_experts: expertCount.nullish(),
  num_experts_per_tok: expertCount,
};

/** Kinds of layers as lists, which newer libraries write beside or instead of the rules of a family. */
export const layerListFields = {
  layer_types: z.array(z.enum(['full_attention', 'sliding_attention'])).nullish(),
  mlp_layer_types: z.array(z.enum(['dense', 'sparse'])).nullish(),
  sliding_window: positive.nullish(),
};

/** The parsed fields of every family. */
export type DecoderConfig = z.output<ReturnType<typeof decoderObject>>;
const decoderObject = () => z.object(decoderFields);

/** An inconsistent `config.json`. */
export function invalidConfig(family: string, message: string): UserError {
  return new UserError(
    'config/invalid',
    `config.json (${family}): ${message}`,
    'Check that config.json belongs to this checkpoint and is complete.',
  );
}

/**
 * Validates `config.json`; fields a family does not know are left alone, since libraries add many.
 * @throws UserError `config/invalid` naming each wrong field.
 */
export function readConfig<S extends z.ZodType>(family: string, schema: S, config: unknown): z.output<S> {
  const parsed = schema.safeParse(config);
  if (!parsed.success) throw invalidConfig(family, explainIssues(parsed.error, schema));
  return parsed.data;
}
