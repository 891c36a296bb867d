/** Fine-tuning with the routers as they were: expert choices move only because what the routers read moves. */
import { z } from 'zod';
import { plainRouting, routerShapes, type Method } from '#worker/model/index.ts';
import { statelessSession } from './stateless-session.ts';

const Options = z.strictObject({});

/** Everything but the routers trains. */
export const frozenRouter: Method<typeof Options> = {
  name: 'frozen-router',
  title: 'Frozen router',
  trains: 'Every weight but the routers: attention, all experts, embedding and head.',
  cost: '1 ×; the routers are a very small part of the weights.',
  source: 'Baseline of DenseMixer (Yao et al. 2025), which compares with it.',
  options: Options,
  needs: 'experts',
  start: (_options, context) =>
    statelessSession({
      trainable: ({ role }) => !role.startsWith('router') && !role.startsWith('gate'),
      routing: plainRouting(routerShapes(context.plan)),
      losses: [],
    }),
};
