/**
 * Expert-specialised fine-tuning (ESFT, arXiv 2407.01906): only the experts that the task uses most train; routing and
 * everything else stay as they are.
 */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import {
  moeLayerIndices,
  plainRouting,
  routerShapes,
  shapeOf,
  type ExpertConfig,
  type Method,
  type MethodContext,
  type MethodSession,
  type Parameter,
  type StepPosition,
} from '#worker/model/index.ts';
import { routingLossOptions, routingLosses } from './routing-loss-options.ts';
import { selectExperts } from './select-experts.ts';
import { statelessSession } from './stateless-session.ts';

const Options = z.strictObject({
  share: z.number().gt(0).max(1).default(0.2).meta({
    title: 'Share of the routing to train',
    unit: '× score',
    description:
      'In each layer experts train by falling score until their scores add up to this. The paper uses 0.2 with token scores and 0.1 with gate scores.',
  }),
  score: z.enum(['token', 'gate']).default('token').meta({
    title: 'Score of an expert',
    description:
      'token: its share of all choices; gate: its mean gate value over all tokens. Both come from a sample of your training data, which is routed through the untouched model before the first step.',
  }),
  sharedExperts: z.boolean().default(false).meta({
    title: 'Train shared experts',
    description: 'Experts that see every token, in models that have them. The paper: no.',
    advanced: true,
  }),
  nonExpertModules: z.boolean().default(false).meta({
    title: 'Train all that is not an expert',
    description: 'Attention, routers, norms, embedding and head. The paper: no.',
    advanced: true,
  }),
  sampleTokens: z.int().positive().default(8192).meta({
    title: 'Size of the sample',
    unit: 'tokens',
    description:
      'Rounded up to whole micro-batches, at most the whole data. The published scores come from about 8,000 tokens.',
    advanced: true,
  }),
  expertConfig: z.string().nullable().default(null).meta({
    title: 'Experts from file',
    description:
      'The expert_cfg.json of an earlier run or of the published ESFT code, or the folder that holds it. It decides in place of the fields above; no sample is routed.',
    advanced: true,
  }),
  layerKeys: z.enum(['fromZero', 'fromOne']).default('fromZero').meta({
    title: 'Layers of the file',
    description:
      'What the file calls the first layer of the model: 0 (published ESFT code) or 1 (files for OLMoE and Qwen made with DenseMixer).',
    advanced: true,
  }),
  ...routingLossOptions,
});
type Options = z.output<typeof Options>;

const State = z
  .object({
    experts: z.array(z.array(z.int())),
    sharedExperts: z.boolean(),
    nonExpertModules: z.boolean(),
  })
  .nullable();

/** What `options` ask to train; null when that takes scores and there are none. */
function configOf(options: Options, context: MethodContext): ExpertConfig | null {
  const { expertConfig, layerKeys, share, sharedExperts, nonExpertModules } = options;
  if (expertConfig !== null) {
    const config = context.readExpertConfig(expertConfig, layerKeys === 'fromOne' ? 1 : 0);
    checkConfig(config, expertConfig, context);
    return config;
  }
  const scores_LE = context.expertScores?.[options.score];
  if (scores_LE === undefined) return null;
  return {
    experts: scores_LE.map((scores_E) => selectExperts(scores_E, share)),
    sharedExperts,
    nonExpertModules,
  };
}

/** @throws UserError `esft/expert-config` when the model lacks an expert of the file, or the file trains nothing. */
function checkConfig(config: ExpertConfig, path: string, context: MethodContext): void {
  const shapes = routerShapes(context.plan);
  config.experts.forEach((listed, layer) => {
    const { experts } = shapeOf(shapes, layer);
    const unknown = listed.find((expert) => expert >= experts);
    if (unknown !== undefined) {
      throw new UserError(
        'esft/expert-config',
        `${path} lists expert ${unknown} in MoE layer ${layer}, which has experts 0 to ${experts - 1}`,
        'The file belongs to another model.',
      );
    }
  });
  const { experts, sharedExperts, nonExpertModules } = config;
  if (experts.every((listed) => listed.length === 0) && !sharedExperts && !nonExpertModules) {
    throw new UserError(
      'esft/expert-config',
      `${path} lists no expert, so nothing would train`,
      'Choose another file, or none to let the training data decide.',
    );
  }
}

function startEsft(options: Options, context: MethodContext): MethodSession {
  const shapes = routerShapes(context.plan);
  const moeLayer = new Map(moeLayerIndices(context.plan).map((layer, index) => [layer, index]));
  let config = configOf(options, context);
  const trainable = (parameter: Parameter): boolean => {
    if (config === null) {
      throw new UserError(
        'esft/no-experts',
        'ESFT needs to know which experts train, and has neither scores nor a file',
        'Train it as a run: a sample of the training data is routed first. Elsewhere give method.options.expertConfig, the expert_cfg.json of an earlier run.',
      );
    }
    const { role, layer, expert } = parameter;
    if (expert !== null) return config.experts[moeLayer.get(layer ?? -1) ?? -1]?.includes(expert) ?? false;
    return role.startsWith('shared') ? config.sharedExperts : config.nonExpertModules;
  };
  return {
    ...statelessSession({
      trainable,
      routing: plainRouting(shapes),
      losses: routingLosses(options),
    }),
    afterStep(at: StepPosition) {
      if (at.step > 0 || config === null) return [];
      const chosen = config.experts.map((experts) => experts.length);
      const all = shapes.reduce((sum, { experts }) => sum + experts, 0);
      return [
        `${chosen.reduce((sum, n) => sum + n, 0)} of ${all} experts train; by layer: ${chosen.join(', ')}.`,
      ];
    },
    routerState: () => (config === null ? {} : { expertConfig: config }),
    save: () => config,
    restore(state) {
      config = State.parse(state);
    },
  };
}

/** Expert-specialised fine-tuning. */
export const esft: Method<typeof Options> = {
  name: 'esft',
  title: 'Expert-specialised fine-tuning',
  trains: 'Only the experts your data uses most; routers, attention and all other experts stay as they are.',
  cost: 'About ½ to ⅔ × the time, and memory for gradients and moments of the chosen experts only; one pass over a sample before the first step.',
  source: 'ESFT, Wang et al. 2024 (arXiv 2407.01906), and its released code.',
  options: Options,
  needs: 'experts',
  sampleTokens: ({ expertConfig, sampleTokens }) => (expertConfig === null ? sampleTokens : 0),
  start: startEsft,
};
