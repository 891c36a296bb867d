/** Weight-decomposed low-rank adaptation (DoRA, Liu et al. 2024): LoRA, and a trained length for each row of a weight. */
import { z } from 'zod';
import { plainRouting, routerShapes, type Method } from '#worker/model/index.ts';
import { adapterOptions, trainedAdapters } from './adapter-options.ts';
import { routingLossOptions, routingLosses } from './routing-loss-options.ts';
import { statelessSession } from './stateless-session.ts';

const Options = z.strictObject({ ...adapterOptions, ...routingLossOptions });

/** DoRA on attention and on every expert. */
export const dora: Method<typeof Options> = {
  name: 'dora',
  title: 'DoRA',
  trains: 'Low-rank adapters as in LoRA, and the length of each row of the weights they are beside.',
  cost: 'More than LoRA: the rows of a corrected weight are measured, and its product is computed twice.',
  source: 'Liu et al. 2024 (arXiv 2402.09353), as PEFT computes it.',
  options: Options,
  start: (options, context) =>
    statelessSession({
      ...trainedAdapters('dora', options, context),
      routing: plainRouting(routerShapes(context.plan)),
      losses: routingLosses(options),
    }),
};
