/**
 * Sparse matrix tuning (SMT, arXiv 2405.15525): after a warm-up of full fine-tuning, the sub-matrices of the weights with
 * the largest gradients train, from the values the checkpoint has, and nothing else does.
 */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import {
  plainRouting,
  parametersOf,
  routerShapes,
  submatrixParameter,
  takeSubmatrices,
  type AddedParameter,
  type DecoderPlan,
  type Method,
  type MethodSession,
  type Parameter,
} from '#worker/model/index.ts';
import { routingLossOptions, routingLosses } from './routing-loss-options.ts';
import { selectSubmatrices, type ScoredGroup } from './select-submatrices.ts';
import { statelessSession } from './stateless-session.ts';

const share = z.number().min(0).max(1);
const score = z.enum(['absOfMean', 'meanOfAbs', 'l2']);

const Options = z.strictObject({
  attentionShare: share.default(0.0084).meta({
    title: 'Share for attention',
    unit: '× sub-matrices',
    description:
      'Sub-matrices of the query, key and value projections that train, as a share of all sub-matrices of the model. The published run uses 0.0084.',
  }),
  mlpShare: share.default(0.0084).meta({
    title: 'Share for experts and MLPs',
    unit: '× sub-matrices',
    description: 'The same for gate, up and down projections. The published run uses 0.0084.',
  }),
  warmUpSteps: z.int().positive().default(100).meta({
    title: 'Warm-up',
    unit: 'steps',
    description:
      'Steps of full fine-tuning whose gradients choose the sub-matrices; needs the memory of full fine-tuning. The weights it moved are given up.',
  }),
  warmUpLearningRate: z.number().min(0).nullable().default(null).meta({
    title: 'Learning rate of the warm-up',
    description: 'null: that of the run.',
    advanced: true,
  }),
  blockSize: z
    .union([z.literal('auto'), z.int().positive()])
    .default('auto')
    .meta({
      title: 'Size of a sub-matrix',
      unit: 'rows and columns',
      description:
        'Must divide the sides of all weights concerned. auto: the largest power of two up to 256 that does; the paper uses 256.',
      advanced: true,
    }),
  attentionScore: score.default('absOfMean').meta({
    title: 'Score in attention',
    description:
      'Of gradients added up over the warm-up: the size of their mean (released code), the mean of their sizes, or their Euclidean norm.',
    advanced: true,
  }),
  mlpScore: score.default('meanOfAbs').meta({
    title: 'Score in experts and MLPs',
    description: 'As above; the released code takes the mean of their sizes.',
    advanced: true,
  }),
  selection: z.enum(['global', 'perMatrix']).default('global').meta({
    title: 'Selection',
    description:
      'global: the best of all weights of the kind; perMatrix: the same share of each weight, at least one sub-matrix.',
    advanced: true,
  }),
  perExpert: z.int().min(0).default(0).meta({
    title: 'At least for each expert',
    unit: 'sub-matrices',
    description:
      'Experts with few tokens have small gradients and would get none. These many of the best of each expert train in any case, within the share.',
    advanced: true,
  }),
  ...routingLossOptions,
});
type Options = z.output<typeof Options>;

const attentionRoles: ReadonlySet<string> = new Set([
  'query',
  'key',
  'value',
  'queryDown',
  'keyValueDown',
  'keyValueUp',
]);
const mlpRole = /^(expert|shared|dense)(Gate|Up|Down)$/;

/** What a weight is counted with; null: it stays as it is. */
function kindOf({ role }: Parameter): 'attention' | 'mlp' | null {
  if (attentionRoles.has(role)) return 'attention';
  return mlpRole.test(role) ? 'mlp' : null;
}

const LARGEST_SIZE = 256;

/** @throws UserError `smt/block-size` when it does not divide a weight. */
function sizeOf({ blockSize }: Options, weights: readonly Parameter[]): number {
  const fits = (size: number) => (weight: Parameter) => weight.shape.every((side) => side % size === 0);
  if (blockSize !== 'auto') {
    const wrong = weights.find((weight) => !fits(blockSize)(weight));
    if (wrong === undefined) return blockSize;
    throw new UserError(
      'smt/block-size',
      `method.options.blockSize: ${blockSize} does not divide ${wrong.id}, which is ${wrong.shape.join(' × ')}`,
      'Give a divisor of all sides, or "auto".',
    );
  }
  let size = LARGEST_SIZE;
  while (!weights.every(fits(size))) size /= 2;
  return size;
}

/** Weights of a kind, and how many of their sub-matrices train. */
function groupsOf(options: Options, plan: DecoderPlan, size: number): ScoredGroup[] {
  const parameters = parametersOf(plan);
  const blocks = (list: readonly Parameter[]) =>
    list.reduce((sum, { shape: [rows = 0, columns = 0] }) => sum + (rows * columns) / size ** 2, 0);
  const all = blocks(parameters.filter(({ shape }) => shape.length === 2));
  return (['attention', 'mlp'] as const).map((kind) => {
    const weights = parameters.filter((parameter) => kindOf(parameter) === kind);
    const wanted = options[kind === 'attention' ? 'attentionShare' : 'mlpShare'] * all;
    return { weights, count: Math.min(Math.round(wanted), blocks(weights)) };
  });
}

/** Sparse matrix tuning. */
export const smt: Method<typeof Options> = {
  name: 'smt',
  title: 'Sparse matrix tuning',
  trains:
    'Squares of the weights of attention and experts that had the largest gradients in a warm-up; nothing else.',
  cost: 'About ⅔ × the products; gradients and moments for 1 to 2 % of the weights. The warm-up costs what full fine-tuning costs, memory too.',
  source: 'He et al. 2024 (arXiv 2405.15525) and its released code.',
  options: Options,
  warmUp(options, plan) {
    const weights = parametersOf(plan).filter((parameter) => kindOf(parameter) !== null);
    const size = sizeOf(options, weights);
    const groups = groupsOf(options, plan, size);
    if (groups.every(({ count }) => count === 0)) {
      throw new UserError(
        'smt/nothing-trains',
        `method.options.attentionShare and mlpShare are too small: not one sub-matrix of ${size} × ${size} would train`,
        'Give a larger share or a smaller blockSize.',
      );
    }
    const scores = { attention: options.attentionScore, mlp: options.mlpScore };
    return {
      steps: options.warmUpSteps,
      learningRate: options.warmUpLearningRate,
      size,
      scoreOf(parameter) {
        const kind = kindOf(parameter);
        return kind === null ? null : scores[kind];
      },
      choose: (found) => ({
        kind: 'submatrices',
        size,
        places: selectSubmatrices(groups, found, size, options),
      }),
    };
  },
  start(options, { plan, submatrices }): MethodSession {
    if (submatrices === null) {
      throw new UserError(
        'smt/no-submatrices',
        'SMT needs to know which sub-matrices train, and had no warm-up to choose them',
        'Train it as a run: the warm-up comes first.',
      );
    }
    const { size, places } = submatrices;
    const added = parametersOf(plan).flatMap((weight): AddedParameter[] => {
      const chosen = places.get(weight.id);
      if (chosen === undefined) return [];
      const [, width = 0] = weight.shape;
      return [
        {
          ...submatrixParameter(weight, size, chosen),
          initial: (valuesOf) => takeSubmatrices(valuesOf(weight.id), size, chosen, width),
        },
      ];
    });
    const count = [...places.values()].reduce((sum, chosen) => sum + chosen.length, 0);
    const experts = new Set(
      added.flatMap(({ layer, expert }) => (expert === null ? [] : [`${layer} ${expert}`])),
    );
    return {
      ...statelessSession({
        trainable: () => false,
        added,
        adapters: submatrices,
        routing: plainRouting(routerShapes(plan)),
        losses: routingLosses(options),
      }),
      afterStep: ({ step }) =>
        step > 0
          ? []
          : [
              `${count} sub-matrices of ${size} × ${size} train, in ${places.size} weights and ${experts.size} experts.`,
            ],
    };
  },
};
