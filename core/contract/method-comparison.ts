/**
 * A comparison of methods on equal terms: every method with every seed, on the same base model, data, order of the data,
 * token budget and evaluation. It is a run specification with `methods` and `seeds` in place of `method` and `train.seed`.
 * A method may bring learning rates of its own; it is then trained with each of them.
 */
import { z } from 'zod';
import { UserError } from './errors.ts';
import { explainIssues } from './explain-issues.ts';
import { methodLabel } from './methods-together.ts';
import { parseRunSpec, RunSpec } from './run-spec.ts';

/** Runs of one comparison at most. */
export const MOST_COMPARED = 48;

/** A method with its options; `label` tells two choices of one method apart. */
export const MethodChoice = RunSpec.shape.method.extend({
  label: z.string().min(1).max(60).optional(),
  learningRates: z
    .array(z.number().positive())
    .min(1)
    .refine((rates) => new Set(rates).size === rates.length, 'a learning rate is given twice')
    .optional()
    .meta({
      title: 'Learning rates',
      description:
        'With commas between them. Each is trained with every seed; the one with the lowest mean validation loss stands for the method. Empty: the rate under Training.',
    }),
});
export type MethodChoice = z.infer<typeof MethodChoice>;

/** Which methods, and with which seeds. */
export const ComparisonTerms = z.object({
  methods: z.array(MethodChoice).min(1),
  seeds: z
    .array(z.int().min(0).max(0xffffffff))
    .min(1)
    .refine((seeds) => new Set(seeds).size === seeds.length, 'a seed is given twice')
    .meta({
      title: 'Seeds',
      description: 'Every method is trained once with each; what differs between them gives the intervals.',
    }),
});
type Terms = z.infer<typeof ComparisonTerms>;

/** What the expansion changes of a run; the rest is handed on as it is. */
interface Common {
  readonly name: string;
  readonly data: { readonly validation: object };
  readonly train: object;
}

/** Runs of a method with each seed: one for each of its learning rates. */
export function runsPerSeed({ learningRates }: MethodChoice): number {
  return learningRates?.length ?? 1;
}

/** A learning rate as it is written in names and tables: 1e-5, 2.5e-4. */
export function rateText(learningRate: number): string {
  return learningRate.toExponential();
}

/**
 * One run for each method, learning rate and seed. All methods of a seed come before the next seed, so that a comparison
 * that is cut short is still one on equal terms. Rows held out by a fraction are the same for all seeds.
 * @throws UserError `comparison/size` for more than `MOST_COMPARED` runs.
 */
export function expandComparison<T extends Common>(common: T, { methods, seeds }: Terms) {
  const settings = methods.reduce((sum, method) => sum + runsPerSeed(method), 0);
  if (settings * seeds.length > MOST_COMPARED) {
    const rates = settings > methods.length ? ', counted once for each of their learning rates,' : '';
    throw new UserError(
      'comparison/size',
      `${settings} methods${rates} with ${seeds.length} seeds each are ${settings * seeds.length} runs; a comparison has ${MOST_COMPARED} at most`,
      `Leave out methods, ${rates === '' ? '' : 'learning rates '}or seeds.`,
    );
  }
  const labels = labelsOf(methods);
  const { validation } = common.data;
  const split = 'fraction' in validation ? { seed: seeds[0], ...validation } : validation;
  return seeds.flatMap((seed) =>
    methods.flatMap(({ name, options, learningRates }, i) =>
      (learningRates ?? [undefined]).map((learningRate) => ({
        ...common,
        name: [
          common.name,
          labels[i],
          ...(learningRate === undefined ? [] : [`rate ${rateText(learningRate)}`]),
          `seed ${seed}`,
        ].join(' · '),
        data: { ...common.data, validation: split } as T['data'],
        method: { name, options },
        train: {
          ...common.train,
          ...(learningRate !== undefined && { learningRate }),
          seed,
        } as T['train'] & { seed: number },
      })),
    ),
  );
}

/** What each choice is called: its label, or its name with a number where it comes again. */
export function labelsOf(methods: readonly MethodChoice[]): string[] {
  const names = methods.map(methodLabel);
  return methods.map(({ label }, i) => {
    const name = names[i] ?? '';
    const before = names.slice(0, i).filter((other) => other === name).length;
    return label ?? (before === 0 ? name : `${name} ${before + 1}`);
  });
}

const Document = ComparisonTerms.extend({
  name: z.string().max(100).default('comparison'),
  data: z.looseObject({ validation: z.looseObject({}).default({ fraction: 0.02 }) }),
  train: z.looseObject({}).default({}),
}).loose();

/** True for a parsed document that means a comparison, right or wrong. */
export function isComparison(document: unknown): boolean {
  return typeof document === 'object' && document !== null && 'methods' in document;
}

/**
 * Validates a parsed COMPARISON.json.
 * @returns its runs, in the order in which they are trained.
 * @throws UserError `comparison/invalid`, `comparison/size`, and those of `parseRunSpec` for the fields of a run.
 */
export function parseComparison(document: unknown, source: string): RunSpec[] {
  const parsed = Document.safeParse(document);
  if (!parsed.success) {
    throw new UserError(
      'comparison/invalid',
      `${source}: ${explainIssues(parsed.error, Document)}`,
      'A comparison is a run document with a list of methods and a list of seeds in place of method and train.seed.',
    );
  }
  const { methods, seeds, ...common } = parsed.data;
  for (const [field, given] of [
    ['method', 'method' in common],
    ['train.seed', 'seed' in common.train],
  ] as const) {
    if (given) {
      throw new UserError(
        'comparison/invalid',
        `${source}: ${field} does not belong into a comparison`,
        `Use ${field === 'method' ? 'methods' : 'seeds'}.`,
      );
    }
  }
  return expandComparison(common, { methods, seeds }).map((run) => parseRunSpec(run, source));
}
