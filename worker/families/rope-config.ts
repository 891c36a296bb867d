/** Rotary embeddings from `config.json`: bases and scaling rules, in both layouts of the field. */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { inverseFrequencies, type RopePlan } from '#worker/model/index.ts';

const optional = z.number().positive().nullish();

/** A scaling record: `rope_scaling` of published configs, `rope_parameters` of re-saved ones. */
const RopeRecord = z.looseObject({
  rope_theta: optional,
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  partial_rotary_factor: optional,
  factor: optional,
  original_max_position_embeddings: optional,
  low_freq_factor: optional,
  high_freq_factor: optional,
  beta_fast: optional,
  beta_slow: optional,
  mscale: z.number().min(0).nullish(),
  mscale_all_dim: z.number().min(0).nullish(),
  attention_factor: optional,
  truncate: z.boolean().nullish(),
  alpha: optional,
  short_factor: z.array(z.number().positive()).nullish(),
  short_mscale: optional,
  long_mscale: optional,
});
type RopeRecord = z.output<typeof RopeRecord>;

/** `rope_parameters` may hold one record for each type of layer; a damaged one of these is no record for all of them. */
const RopeParameters = z.union([
  z.object({ full_attention: RopeRecord, sliding_attention: RopeRecord.optional() }),
  RopeRecord.extend({ full_attention: z.never().optional() }),
]);

/** The fields a rotary embedding is read from. */
export const ropeFields = {
  rope_theta: optional,
  rope_scaling: RopeRecord.nullish(),
  rope_parameters: RopeParameters.nullish(),
  partial_rotary_factor: optional,
};

/** What `ropeOf` reads. */
interface RopeConfig {
  readonly rope_theta?: number | null | undefined;
  readonly rope_scaling?: RopeRecord | null | undefined;
  readonly rope_parameters?: z.output<typeof RopeParameters> | null | undefined;
  readonly partial_rotary_factor?: number | null | undefined;
  readonly max_position_embeddings: number;
}

/** What a layer attends to: families may turn positions differently for each. */
export type LayerType = 'full_attention' | 'sliding_attention';

/** The record that holds for a type of layer. */
function recordOf(c: RopeConfig, layerType: LayerType): RopeRecord {
  const parameters = c.rope_parameters;
  if (parameters && 'full_attention' in parameters) {
    const { full_attention: full, sliding_attention: sliding } = parameters as {
      full_attention: RopeRecord;
      sliding_attention?: RopeRecord;
    };
    return layerType === 'sliding_attention' ? (sliding ?? full) : full;
  }
  return { ...c.rope_scaling, ...parameters };
}

/** The share of each head that is rotated; 1 where the config states none. */
export function partialRotaryFactor(c: RopeConfig, layerType: LayerType = 'full_attention'): number {
  return recordOf(c, layerType).partial_rotary_factor ?? c.partial_rotary_factor ?? 1;
}

/** `0.1 · a · ln s + 1`, the growth of attention scores that YaRN (arXiv 2309.00071, equation 22) makes up for. */
function yarnScale(factor: number, coefficient: number): number {
  return factor <= 1 ? 1 : 0.1 * coefficient * Math.log(factor) + 1;
}

/** What DeepSeek multiplies the attention scale by: the square of the YaRN scale by `mscale_all_dim`. */
export function latentScaleFactor(c: RopeConfig): number {
  const record = recordOf(c, 'full_attention');
  const all = record.mscale_all_dim ?? 0;
  return all === 0 || typeOf(record) !== 'yarn' ? 1 : yarnScale(record.factor ?? 1, all) ** 2;
}

function invalidRope(family: string, type: string, needed: string): UserError {
  return new UserError(
    'config/invalid',
    `config.json (${family}): rope_scaling of type "${type}" needs ${needed}`,
    'Check that config.json belongs to this checkpoint and is complete.',
  );
}

function typeOf(record: RopeRecord): string {
  return record.rope_type ?? record.type ?? 'default';
}

/**
 * The rotary embedding of `dimensions` elements.
 * @throws UserError `config/unsupported` for a scaling rule that is not known, `config/invalid` for one without its numbers.
 */
export function ropeOf(
  family: string,
  c: RopeConfig,
  dimensions: number,
  {
    layout = 'half',
    layerType = 'full_attention',
  }: { readonly layout?: RopePlan['layout']; readonly layerType?: LayerType } = {},
): RopePlan {
  if (dimensions % 2 !== 0 || dimensions <= 0 || dimensions > 2 ** 16) {
    throw new UserError(
      'config/invalid',
      `config.json (${family}): ${dimensions} rotated dimensions of a head; their number must be even and positive`,
      'Check that config.json belongs to this checkpoint and is complete.',
    );
  }
  const record = recordOf(c, layerType);
  const theta = c.rope_theta ?? record.rope_theta ?? 10_000;
  const own = record.rope_theta ?? theta;
  const plain = inverseFrequencies(own, dimensions);
  const need = (field: keyof RopeRecord): number => {
    const value = record[field];
    if (typeof value === 'number') return value;
    throw invalidRope(family, typeOf(record), field);
  };
  const type = typeOf(record);
  switch (type) {
    case 'default':
      return { layout, inverseFrequencies: plain };
    case 'linear':
      return { layout, inverseFrequencies: plain.map((inv) => inv / need('factor')) };
    case 'llama3':
      return {
        layout,
        inverseFrequencies: llama3Frequencies(plain, {
          factor: need('factor'),
          low: need('low_freq_factor'),
          high: need('high_freq_factor'),
          original: need('original_max_position_embeddings'),
        }),
      };
    case 'yarn':
      return {
        layout,
        inverseFrequencies: yarnFrequencies(plain, own, {
          factor: need('factor'),
          original: record.original_max_position_embeddings ?? c.max_position_embeddings,
          fast: record.beta_fast ?? 32,
          slow: record.beta_slow ?? 1,
          truncate: record.truncate ?? true,
        }),
        tableScale: yarnTableScale(record, need('factor')),
      };
    case 'longrope':
      return longRope(family, record, layout, plain, need('original_max_position_embeddings'));
    case 'dynamic':
      // HunYuan: a larger base from the start (NTK-aware scaling), whatever the length.
      if (record.alpha)
        return {
          layout,
          inverseFrequencies: inverseFrequencies(
            own * record.alpha ** (dimensions / (dimensions - 2)),
            dimensions,
          ),
        };
      return {
        layout,
        inverseFrequencies: plain,
        mostPositions: Math.min(
          record.original_max_position_embeddings ?? Infinity,
          c.max_position_embeddings,
        ),
      };
    default:
      throw new UserError(
        'config/unsupported',
        `config.json (${family}): rope_scaling.rope_type "${type}" is not supported`,
        'Supported: default, linear, llama3, yarn, longrope with mscales, and dynamic.',
      );
  }
}

/** Llama 3.1: long waves are stretched by the factor, short ones kept, those between are blended. */
function llama3Frequencies(
  plain: readonly number[],
  { factor, low, high, original }: Readonly<Record<'factor' | 'low' | 'high' | 'original', number>>,
): number[] {
  return plain.map((inverse) => {
    const wave = (2 * Math.PI) / inverse;
    if (wave > original / low) return Math.fround(inverse / factor);
    if (wave < original / high) return inverse;
    const smooth = (original / wave - low) / (high - low);
    return Math.fround(((1 - smooth) * inverse) / factor + smooth * inverse);
  });
}

/**
 * LongRoPE (Ding et al. 2024, arXiv 2402.13753) as the reference implementation of Phi-3.5-MoE computes it: a factor for
 * each frequency. Beyond the original length only the scale of the tables changes; `long_factor` is not used.
 */
function longRope(
  family: string,
  { short_factor: short, short_mscale: shortScale, long_mscale: longScale }: RopeRecord,
  layout: RopePlan['layout'],
  plain: readonly number[],
  above: number,
): RopePlan {
  if (!short || !shortScale || !longScale)
    throw invalidRope(family, 'longrope', 'short_factor, short_mscale and long_mscale');
  if (short.length !== plain.length)
    throw invalidRope(family, 'longrope', `${plain.length} numbers in short_factor`);
  return {
    layout,
    inverseFrequencies: plain.map((inverse, i) => Math.fround(inverse / (short[i] as number))),
    tableScale: shortScale,
    long: { above, tableScale: longScale },
  };
}

/** YaRN (Peng et al. 2023, arXiv 2309.00071, section 3.2). */
function yarnFrequencies(
  plain: readonly number[],
  theta: number,
  rule: {
    readonly factor: number;
    readonly original: number;
    readonly fast: number;
    readonly slow: number;
    readonly truncate: boolean;
  },
): number[] {
  const dimensions = 2 * plain.length;
  const turns = (count: number) =>
    (dimensions * Math.log(rule.original / (count * 2 * Math.PI))) / (2 * Math.log(theta));
  const round = (value: number, to: (x: number) => number) => (rule.truncate ? to(value) : value);
  const low = Math.max(0, round(turns(rule.fast), Math.floor));
  const high = Math.min(dimensions - 1, round(turns(rule.slow), Math.ceil));
  return plain.map((inverse, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / Math.max(high - low, 0.001)));
    return Math.fround((inverse / rule.factor) * ramp + inverse * (1 - ramp));
  });
}

function yarnTableScale(record: RopeRecord, factor: number): number {
  if (record.attention_factor) return record.attention_factor;
  const { mscale, mscale_all_dim: all } = record;
  return mscale && all ? yarnScale(factor, mscale) / yarnScale(factor, all) : yarnScale(factor, 1);
}
