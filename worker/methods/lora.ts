/** Low-rank adaptation (LoRA, Hu et al. 2021): every weight stays, a small product of two matrices is trained beside it. */
import { z } from 'zod';
import { plainRouting, routerShapes, type Method } from '#worker/model/index.ts';
import { adapterOptions, trainedAdapters } from './adapter-options.ts';
import { routingLossOptions, routingLosses } from './routing-loss-options.ts';
import { statelessSession } from './stateless-session.ts';

const Options = z.strictObject({ ...adapterOptions, ...routingLossOptions });

/** LoRA on attention and on every expert. */
export const lora: Method<typeof Options> = {
  name: 'lora',
  title: 'LoRA',
  trains:
    'Low-rank adapters beside the weights of attention and of every expert; the weights stay as they are.',
  cost: 'About ⅔ × the products, plus those of the adapters; gradients and moments for a few per cent of the weights.',
  source: 'Hu et al. 2021 (arXiv 2106.09685), as PEFT computes it; rank-stabilised scale: arXiv 2312.03732.',
  options: Options,
  start: (options, context) =>
    statelessSession({
      ...trainedAdapters('lora', options, context),
      routing: plainRouting(routerShapes(context.plan)),
      losses: routingLosses(options),
    }),
};
