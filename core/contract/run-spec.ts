/**
 * RUN.json: everything that determines a run. A run started from a form, a file or a script is the same document.
 *
 * Field descriptions are part of the schema: the form, the help text and the validation follow from it.
 */
import { z } from 'zod';
import { UserError } from './errors.ts';
import { explainIssues } from './explain-issues.ts';

const positiveInt = z.int().positive();

/** Which columns of a row hold what; see docs/data.md for the fields. */
const ColumnMapping = z.record(z.string(), z.string());

const DataFile = z.strictObject({
  path: z.string().min(1),
  mapping: ColumnMapping.optional(),
});

/** Decides which rows a fraction holds out; `train.seed` when absent. */
export const SplitSeed = z.int().min(0).max(0xffffffff).optional();

/** How examples become rows, and rows micro-batches. */
const Packing = z.union([z.boolean(), z.literal('buckets')], 'expected true, false or "buckets"');
export type Packing = z.infer<typeof Packing>;

/** What a run reads, and how rows become examples. */
export const DataSpec = z.strictObject({
  train: z.array(DataFile).min(1),
  validation: z
    .union([
      z.strictObject({ fraction: z.number().min(0).max(0.5), seed: SplitSeed }),
      z.strictObject({ files: z.array(DataFile).min(1) }),
    ])
    .default({ fraction: 0.02 }),
  /** Examples unlike the training data: how much worse the model becomes at them is what it forgets. */
  general: z.array(DataFile).min(1).optional(),
  template: z.enum(['auto', 'none']).default('auto').meta({
    title: 'Chat template',
    description:
      'auto: the template in the checkpoint folder; none: prompt and answer joined by a line break.',
  }),
  maxLength: positiveInt
    .default(512)
    .meta({ title: 'Longest example', unit: 'tokens', description: 'Longer examples lose their end.' }),
  packing: Packing.default(true).meta({
    title: 'Packing',
    description:
      'true: several short examples share a row, and attention stays inside each; false: one example a row, padded to the longest of its micro-batch; buckets: the same, with examples of similar length in a micro-batch, which leaves little padding.',
  }),
  lossOn: z
    .enum(['completion', 'all'])
    .default('completion')
    .meta({ title: 'Train on', description: 'completion: only the answers; all: prompts too.' }),
});

/** How the moments of AdamW are held. */
export const MomentFormat = z.enum(['float32', 'bfloat16', 'float8']);
export type MomentFormat = z.infer<typeof MomentFormat>;

const OptimizerSpec = z.strictObject({
  name: z.literal('adamw').default('adamw'),
  betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.999]),
  epsilon: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(0),
  moments: MomentFormat.default('float32').meta({
    title: 'Moments',
    description:
      'How AdamW keeps its two moments: 8 bytes a trained weight, 4 in bfloat16, 2 in float8 (blocks of 256 with a scale). Smaller ones are rounded at random.',
  }),
});

const TrainSpec = z.strictObject({
  epochs: z
    .number()
    .positive()
    .optional()
    .meta({ title: 'Epochs', description: 'Passes over the data. Give this or steps.' }),
  steps: positiveInt
    .optional()
    .meta({ title: 'Steps', description: 'Optimizer steps. Stands in place of epochs.' }),
  microBatch: positiveInt.default(4).meta({
    title: 'Micro-batch',
    unit: 'rows',
    description: 'Rows computed at once; memory grows with it.',
  }),
  gradientAccumulation: positiveInt.default(4).meta({
    title: 'Gradient accumulation',
    unit: 'micro-batches',
    description: 'Micro-batches per optimizer step.',
  }),
  learningRate: z.number().positive().default(1e-5).meta({ title: 'Learning rate' }),
  schedule: z.enum(['constant', 'linear', 'cosine']).default('cosine').meta({ title: 'Schedule' }),
  minLearningRateRatio: z.number().min(0).max(1).default(0.1).meta({
    title: 'Final rate',
    unit: '× peak',
    description: 'Where linear and cosine end, as a share of the learning rate.',
  }),
  warmupRatio: z.number().min(0).max(1).default(0.1).meta({ title: 'Warm-up', unit: '× steps' }),
  optimizer: OptimizerSpec.default(OptimizerSpec.parse({})),
  maxGradNorm: z
    .number()
    .positive()
    .nullable()
    .default(1)
    .meta({ title: 'Clip gradient norm', description: 'null: no clipping.' }),
  seed: z.int().min(0).max(0xffffffff).default(1234).meta({ title: 'Seed' }),
});

/** The whole document, defaults filled in. */
/** What a run computes on. */
export const ProviderChoice = z.enum(['auto', 'cpu', 'webgpu']);
export type ProviderChoice = z.infer<typeof ProviderChoice>;

/** How matrices of experts that do not train lie in memory, and are multiplied. */
export const FrozenExperts = z.enum(['stored', 'int8', 'int8-products']);
export type FrozenExperts = z.infer<typeof FrozenExperts>;

/** How frozen weights lie in the memory of a graphics adapter. */
export const DeviceWeights = z.enum(['auto', 'float32', 'float16']);
export type DeviceWeights = z.infer<typeof DeviceWeights>;

/** The whole document. */
export const RunSpec = z.strictObject({
  version: z.literal(1).default(1),
  name: z.string().max(200).default('untitled run'),
  model: z.strictObject({ path: z.string().min(1) }),
  data: DataSpec,
  method: z.strictObject({
    name: z.string().min(1),
    options: z.record(z.string(), z.unknown()).default({}),
  }),
  train: TrainSpec.prefault({}),
  evaluate: z.strictObject({ everySteps: positiveInt.nullable().default(50) }).prefault({}),
  checkpoint: z
    .strictObject({ everySteps: positiveInt.default(100), keep: positiveInt.default(3) })
    .prefault({}),
  engine: z
    .strictObject({
      provider: ProviderChoice.default('auto').meta({
        title: 'Compute on',
        description:
          'cpu, webgpu (the graphics adapter), or auto: a step is rehearsed on both where there is a GPU, and the faster one is taken.',
      }),
      threads: z.union([z.literal('auto'), positiveInt]).default('auto'),
      frozenExperts: FrozenExperts.default('stored').meta({
        title: 'Frozen experts',
        description:
          'How matrices of experts that do not train lie in memory. stored: as the checkpoint has them; int8: rounded to 8 bits with a scale for each row, in half the memory of bfloat16; int8-products: and multiplied with tokens rounded to 8 bits too, which is faster on processors with VNNI (both on the CPU). Exports have the originals.',
      }),
      memoryBudgetMB: positiveInt.nullable().default(null).meta({
        title: 'Memory budget',
        unit: 'MB',
        description:
          'What a run may take; null: what is available when it starts. Layers are computed twice, or frozen experts read from disk, to stay within it.',
      }),
      deviceMemoryMB: positiveInt.nullable().default(null).meta({
        title: 'GPU memory budget',
        unit: 'MB',
        description:
          'What a run may take of the memory of a graphics adapter, which does not tell how much it has; null: all that the run wants. Frozen experts are copied there when they are used, or moments and then weights kept in host memory, to stay within it.',
      }),
      deviceWeights: DeviceWeights.default('auto').meta({
        title: 'Frozen weights on the GPU',
        description:
          'How matrices that do not train lie on a graphics adapter; sums are float32 in any case. float16: in half the memory, rounded to 11 significant bits; auto: so where the checkpoint has 16 bits itself, which lose next to nothing, and the adapter has float16; float32: as wide as what trains.',
      }),
    })
    .prefault({}),
});
export type RunSpec = z.infer<typeof RunSpec>;
/** What a user may write: every field with a default can be left out. */
export type RunSpecInput = z.input<typeof RunSpec>;
export type DataSpec = z.infer<typeof DataSpec>;

/**
 * Validates a parsed RUN.json and fills in the defaults.
 * @param source what to call the document in messages (a file name, "the form").
 * @throws UserError `run-spec/invalid` naming each wrong field, and the nearest known one for an unknown field.
 */
export function parseRunSpec(document: unknown, source = 'RUN.json'): RunSpec {
  const parsed = RunSpec.safeParse(document);
  if (!parsed.success) {
    throw new UserError(
      'run-spec/invalid',
      `${source}: ${explainIssues(parsed.error, RunSpec)}`,
      'Correct the fields named above; docs/cli.md lists every field and its default.',
    );
  }
  const { epochs, steps } = parsed.data.train;
  if (epochs !== undefined && steps !== undefined) {
    throw new UserError(
      'run-spec/invalid',
      `${source}: train.epochs and train.steps are both given`,
      'Keep one of them.',
    );
  }
  if (epochs === undefined && steps === undefined) parsed.data.train.epochs = 1;
  const { general, validation } = parsed.data.data;
  if (general !== undefined && 'fraction' in validation && validation.fraction === 0) {
    throw new UserError(
      'run-spec/invalid',
      `${source}: data.general is measured together with the validation loss, and data.validation holds nothing out`,
      'Hold out a share of the rows, or leave out data.general.',
    );
  }
  return parsed.data;
}
