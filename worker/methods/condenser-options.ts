/** The options of ExpertCondenser, and how many condensers they ask for in each layer. */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { routerShapes, shapeOf, type MethodContext } from '#worker/model/index.ts';
import { adapterChoice } from './adapter-options.ts';

const count = z.int().min(0);

/** What a user can set. */
export const CondenserOptions = z.strictObject({
  phase: z.enum(['bias', 'condensers', 'both']).default('both').meta({
    title: 'Phase',
    description:
      'bias: the router bias drifts, no condensers; condensers: they are chosen at the start, from a bias file or an earlier run; both: one after the other in this run.',
  }),
  phaseSplit: z.number().gt(0).lt(1).default(0.5).meta({
    title: 'Share of the bias phase',
    unit: '× steps',
    description: 'Where phase "both" switches. The published runs give each phase one epoch.',
  }),
  condensersPerLayer: z
    .union([count, z.array(count).min(1)])
    .default(2)
    .meta({
      title: 'Condensers per layer',
      description:
        'One number for all layers, three for early, middle and late layers, or one for each layer. The paper uses 2.',
    }),
  biasSpeed: z.number().min(0).default(1e-4).meta({
    title: 'Bias speed, bias phase',
    unit: 'per update',
    description:
      'What a bias moves by. Speed × updates is what matters: the published runs use 1e-4 (OLMoE) and 1e-3 (Qwen1.5-MoE).',
  }),
  condenserBiasSpeed: z.number().min(0).default(5e-5).meta({
    title: 'Bias speed, condenser phase',
    unit: 'per update',
    description: 'The published runs use 5e-5.',
  }),
  biasFile: z.string().nullable().default(null).meta({
    title: 'Start from bias file',
    description: 'A moe_bias_states.json of an earlier bias phase.',
    advanced: true,
  }),
  condensersFile: z.string().nullable().default(null).meta({
    title: 'Start from condensers file',
    description: 'A forced_experts_records.json; its choice is kept.',
    advanced: true,
  }),
  allocation: z.enum(['given', 'gini']).default('given').meta({
    title: 'Share condensers over layers',
    description: 'given: as stated above; gini: the same total, more where expert load is more uneven.',
    advanced: true,
  }),
  giniPower: z.number().positive().default(5).meta({
    title: 'Gini exponent',
    advanced: true,
    description: 'Higher: more for the most uneven layers.',
  }),
  maxPerLayer: z
    .int()
    .positive()
    .default(4)
    .meta({ title: 'Most condensers in a layer', advanced: true, description: 'For the gini allocation.' }),
  budget: z.enum(['add', 'replace']).default('add').meta({
    title: 'Budget',
    description:
      'add: condensers come on top of the k chosen experts (released code); replace: k − r are chosen beside r condensers.',
    advanced: true,
  }),
  overlap: z.enum(['union', 'double']).default('union').meta({
    title: 'Chosen condensers',
    description: 'An expert both chosen and condenser counts once (union) or twice (double, released code).',
    advanced: true,
  }),
  biasInWeights: z.boolean().default(true).meta({
    title: 'Bias in gate weights',
    description: 'On: gate weights are softmax(z + b) (released code). Off: the bias only chooses.',
    advanced: true,
  }),
  usage: z.enum(['soft', 'hard']).default('soft').meta({
    title: 'Usage',
    description: 'soft: sum of gate probabilities; hard: number of choices.',
    advanced: true,
  }),
  usageScope: z.enum(['allMicroBatches', 'lastMicroBatch']).default('allMicroBatches').meta({
    title: 'Usage of',
    description: 'All micro-batches of the step, or the last one only (released OLMoE code).',
    advanced: true,
  }),
  padsInUsage: z
    .boolean()
    .default(false)
    .meta({ title: 'Count padding', description: 'On: as the released code does.', advanced: true }),
  cadence: z.enum(['step', 'forward', 'authorsHook']).default('step').meta({
    title: 'Bias moves',
    description:
      'step: once per optimizer step; forward: after every micro-batch; authorsHook: after each micro-batch of every n-th step, n being the gradient accumulation (released OLMoE trainer).',
    advanced: true,
  }),
  biasDtype: z.enum(['float32', 'bfloat16']).default('float32').meta({
    title: 'Bias type',
    description: 'bfloat16 stops moving near 500 × speed, as the published runs did.',
    advanced: true,
  }),
  biasClip: z
    .number()
    .positive()
    .nullable()
    .default(null)
    .meta({ title: 'Largest bias', description: 'null: unbounded.', advanced: true }),
  ...adapterChoice,
});
/** The options with their defaults. */
export type CondenserOptions = z.output<typeof CondenserOptions>;

/**
 * Counts for each of `layers` layers from one number, three (thirds: early, middle, late) or one each.
 * @throws UserError `expert-condenser/condensers-per-layer`.
 */
export function condenserCounts(given: number | readonly number[], layers: number): number[] {
  if (typeof given === 'number') return new Array<number>(layers).fill(given);
  if (given.length === layers) return [...given];
  const [early, middle, late] = given;
  if (given.length !== 3 || early === undefined || middle === undefined || late === undefined) {
    throw new UserError(
      'expert-condenser/condensers-per-layer',
      `method.options.condensersPerLayer has ${given.length} numbers; this model has ${layers} MoE layers`,
      `Give one number, three, or ${layers}.`,
    );
  }
  const third = Math.floor(layers / 3);
  return Array.from({ length: layers }, (_, l) => (l < third ? early : l < 2 * third ? middle : late));
}

/** Checks `counts` against the router before anything is trained. @throws UserError `expert-condenser/condensers-per-layer`. */
export function checkCounts(
  counts: readonly number[],
  options: CondenserOptions,
  context: MethodContext,
): void {
  const shapes = routerShapes(context.plan);
  counts.forEach((r, layer) => {
    const { experts, expertsPerToken } = shapeOf(shapes, layer);
    const most = options.budget === 'replace' ? expertsPerToken : experts;
    if (r > most) {
      throw new UserError(
        'expert-condenser/condensers-per-layer',
        `${r} condensers in MoE layer ${layer}, but budget "${options.budget}" allows ${most}`,
        'Choose fewer condensers per layer.',
      );
    }
  });
}
