/** Options of low-rank adapters, shared by the methods that can train them, and what follows from them. */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import {
  adapterParameters,
  parametersOf,
  rowNorms,
  type AdapterParameter,
  type AdapterSize,
  type LowRankPlan,
  type AddedParameter,
  type GivenAdapters,
  type MethodContext,
  type MethodSession,
  type WeightRole,
} from '#worker/model/index.ts';
import { uniform } from '#worker/random/index.ts';

/** Target → the weights that get an adapter. */
const targets = {
  attention: ['query', 'key', 'value', 'output', 'outputGate', 'queryDown', 'keyValueDown', 'keyValueUp'],
  experts: ['expertGate', 'expertUp', 'expertDown'],
  sharedExperts: ['sharedGate', 'sharedUp', 'sharedDown'],
  denseLayers: ['denseGate', 'denseUp', 'denseDown'],
  router: ['router'],
  query: ['query'],
  key: ['key'],
  value: ['value'],
  output: ['output'],
} as const satisfies Readonly<Record<string, readonly WeightRole[]>>;

type Target = keyof typeof targets;

const targetNames = Object.keys(targets) as [Target, ...Target[]];

/** Fields of an options schema; spread them into the method's own. */
export const adapterOptions = {
  rank: z.int().positive().default(16).meta({
    title: 'Rank',
    description: 'Width of an adapter. Memory and the part of the weights that can change grow with it.',
  }),
  alpha: z.number().positive().default(32).meta({
    title: 'Alpha',
    description:
      'What an adapter adds is multiplied by alpha / rank. Twice the rank is usual; the ExpertCondenser runs use 64 with rank 32.',
  }),
  rankPattern: z.partialRecord(z.enum(targetNames), z.int().positive()).default({}).meta({
    title: 'Rank by target',
    description:
      'Groups or projections whose adapters have another rank: {"experts": 8, "query": 32}. A projection counts before its group. In adapter_config.json it is rank_pattern.',
    advanced: true,
  }),
  alphaPattern: z.partialRecord(z.enum(targetNames), z.number().positive()).default({}).meta({
    title: 'Alpha by target',
    description: 'The same for alpha. In adapter_config.json it is alpha_pattern.',
    advanced: true,
  }),
  targets: z
    .array(z.enum(targetNames))
    .min(1)
    .default(['attention', 'experts', 'sharedExperts', 'denseLayers'])
    .meta({
      title: 'Weights with an adapter',
      description:
        'Groups or single projections. What a model does not have is passed over. Routers stay frozen unless they are named.',
    }),
  rankStabilised: z.boolean().default(false).meta({
    title: 'Rank-stabilised scale',
    description:
      'Divide alpha by the square root of the rank (rsLoRA), so that high ranks learn as fast as low ones.',
    advanced: true,
  }),
  dropout: z.number().min(0).lt(1).default(0).meta({
    title: 'Dropout of adapters',
    description:
      'Share of the numbers an adapter reads that a training step leaves out at random, the others multiplied up; the weight beside it reads all. 0: none. 0.05 to 0.1 is usual where data are few. Validation and use leave nothing out.',
    advanced: true,
  }),
  adapterFolder: z.string().nullable().default(null).meta({
    title: 'Start from adapters',
    description:
      'A folder in the format of PEFT (adapter_config.json and adapter_model.safetensors), from export --format adapter or elsewhere. It decides ranks, alphas, scale, dropout and weights in place of the fields above.',
    advanced: true,
  }),
};

/** The option of a method that trains weights otherwise. */
export const adapterChoice = {
  adapters: z
    .strictObject({ kind: z.enum(['lora', 'dora']).default('lora'), ...adapterOptions })
    .nullable()
    .default(null)
    .meta({
      title: 'Adapters instead of weights',
      description:
        'null: weights train. Otherwise low-rank adapters do, with the options of the method lora: {"kind": "lora", "rank": 32, "alpha": 64}. Routers are then frozen unless they are among the targets.',
      advanced: true,
    }),
};

const AdapterOptions = z.object(adapterOptions);
const AdapterChoice = z.object(adapterChoice);
type AdapterOptions = z.output<typeof AdapterOptions>;

/** What a method trains. */
export type TrainedParts = Required<Pick<MethodSession, 'trainable' | 'added' | 'adapters'>>;

/** `options` as a plan, checked against the model. @throws UserError `adapter/no-target`. */
function planOf(options: AdapterOptions, magnitude: boolean, context: MethodContext): LowRankPlan {
  const { rankPattern, alphaPattern, rankStabilised, dropout } = options;
  const roles = new Map<string, AdapterSize>(
    options.targets
      .flatMap((target): readonly WeightRole[] => targets[target])
      .map((role) => [
        role,
        {
          rank: sizeOf(rankPattern, role) ?? options.rank,
          alpha: sizeOf(alphaPattern, role) ?? options.alpha,
        },
      ]),
  );
  if (!parametersOf(context.plan).some(({ role }) => roles.has(role))) {
    throw new UserError(
      'adapter/no-target',
      `method.options.targets: this model has none of ${options.targets.join(', ')}`,
      'Add "attention" or "experts".',
    );
  }
  return { kind: 'low-rank', roles, rankStabilised, magnitude, dropout };
}

/** What a pattern says of a role: the smallest target it belongs to counts. */
function sizeOf(pattern: Readonly<Partial<Record<Target, number>>>, role: WeightRole): number | undefined {
  const [first] = targetNames
    .filter((target) => pattern[target] !== undefined && hasRole(target, role))
    .sort((a, b) => targets[a].length - targets[b].length);
  return first && pattern[first];
}

function hasRole(target: Target, role: WeightRole): boolean {
  const roles: readonly WeightRole[] = targets[target];
  return roles.includes(role);
}

function readGiven(folder: string, magnitude: boolean, context: MethodContext): GivenAdapters {
  const given = context.readAdapters(folder);
  if (given.plan.magnitude === magnitude) return given;
  const [is, wanted] = magnitude ? ['LoRA', 'DoRA'] : ['DoRA', 'LoRA'];
  throw new UserError(
    'adapter/other-kind',
    `${folder} holds ${is} adapters; this method trains ${wanted}`,
    `Train it with ${is}.`,
  );
}

/**
 * Values of a new adapter as PEFT starts it: A drawn from ±1/√in (Kaiming uniform with slope √5), B zero, so that it changes
 * nothing at first; the magnitudes of DoRA are the row norms of the weight.
 */
function initial({ id, part, weight, shape }: AdapterParameter, seed: number): AddedParameter['initial'] {
  const [rows = 0, width = 1] = shape;
  switch (part) {
    case 'loraA':
      return () => Float32Array.from(uniform(seed, id, rows * width), (u) => (2 * u - 1) / Math.sqrt(width));
    case 'loraB':
      return () => new Float32Array(rows * width);
    case 'magnitude':
      return (valuesOf) => rowNorms(valuesOf(weight.id), rows);
  }
}

/**
 * What trains with low-rank adapters: they do, and no weight of the checkpoint.
 * @param kind `dora` has a magnitude for each output besides.
 * @throws UserError `adapter/…`, and those of the folder.
 */
export function trainedAdapters(
  kind: 'lora' | 'dora',
  options: AdapterOptions,
  context: MethodContext,
): TrainedParts {
  const magnitude = kind === 'dora';
  const given = options.adapterFolder === null ? null : readGiven(options.adapterFolder, magnitude, context);
  const adapters = given?.plan ?? planOf(options, magnitude, context);
  const added = adapterParameters(parametersOf(context.plan), adapters).map((parameter): AddedParameter => {
    const values = given?.values.get(parameter.id);
    return { ...parameter, initial: values ? () => values : initial(parameter, context.seed) };
  });
  return { trainable: () => false, added, adapters };
}

/** What trains under the option `adapters`: they do, or every weight. @throws UserError as `trainedAdapters`. */
export function trainedParts(
  { adapters }: z.output<typeof AdapterChoice>,
  context: MethodContext,
): TrainedParts {
  return adapters === null
    ? { trainable: () => true, added: [], adapters: null }
    : trainedAdapters(adapters.kind, adapters, context);
}
