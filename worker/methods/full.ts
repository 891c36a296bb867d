/** Full supervised fine-tuning: every weight follows the gradient of the cross-entropy. */
import { z } from 'zod';
import { plainRouting, routerShapes, type Method } from '#worker/model/index.ts';
import { routingLossOptions, routingLosses } from './routing-loss-options.ts';
import { statelessSession } from './stateless-session.ts';

const Options = z.strictObject(routingLossOptions);

/** Full fine-tuning, with optional load-balancing loss and z-loss. */
export const full: Method<typeof Options> = {
  name: 'full',
  title: 'Full fine-tuning',
  trains: 'Every weight: attention, router, all experts, embedding and head.',
  cost: '1 × (the reference).',
  source:
    'Standard supervised fine-tuning; load-balancing loss: Fedus et al. 2021; z-loss: Zoph et al. 2022.',
  options: Options,
  start: (options, context) =>
    statelessSession({
      trainable: () => true,
      routing: plainRouting(routerShapes(context.plan)),
      losses: routingLosses(options),
    }),
};
