/** Full supervised fine-tuning: every weight follows the gradient of the cross-entropy. */
import { z } from 'zod';
import {
  plainRouting,
  routerShapes,
  type Method,
  type MethodSession,
  type RoutingLoss,
} from '#worker/model/index.ts';
import { loadBalancingLoss, zLoss } from './routing-losses.ts';

/** Options of the auxiliary losses, shared by the methods that allow them. */
const routingLossOptions = {
  auxLossCoefficient: z.number().min(0).default(0).meta({
    title: 'Load-balancing loss',
    unit: '× loss',
    description:
      'Pulls the router towards equal use of experts. 0: off, as in Hugging Face fine-tuning unless it is asked for.',
  }),
  auxLossPooling: z.enum(['pooled', 'perLayer']).default('pooled').meta({
    title: 'Load-balancing population',
    description:
      'pooled: all layers together (Hugging Face); perLayer: each layer by itself (Switch Transformer).',
    advanced: true,
  }),
  zLossCoefficient: z.number().min(0).default(0).meta({
    title: 'Router z-loss',
    unit: '× loss',
    description: 'Keeps router logits small (ST-MoE used 0.001). 0: off.',
    advanced: true,
  }),
  auxAccumulation: z.enum(['mean', 'sum']).default('mean').meta({
    title: 'Auxiliary losses over micro-batches',
    description:
      'mean: independent of gradient accumulation; sum: grows with it, as the Hugging Face trainer does.',
    advanced: true,
  }),
};

const Options = z.strictObject(routingLossOptions);

/** The auxiliary losses that `options` switch on. */
function routingLosses(options: z.output<typeof Options>): RoutingLoss[] {
  return [
    ...(options.auxLossCoefficient > 0
      ? [loadBalancingLoss(options.auxLossCoefficient, options.auxLossPooling, options.auxAccumulation)]
      : []),
    ...(options.zLossCoefficient > 0 ? [zLoss(options.zLossCoefficient, options.auxAccumulation)] : []),
  ];
}

/** A session of a method that leaves routing alone and keeps no buffers. */
function statelessSession(parts: Pick<MethodSession, 'trainable' | 'routing' | 'losses'>): MethodSession {
  return {
    ...parts,
    readsPadding: false,
    buffer: (name) => {
      throw new RangeError(`no routing buffer ${name}`);
    },
    afterMicroBatch: () => undefined,
    afterStep: () => [],
    routerState: () => ({}),
    save: () => null,
    restore: () => undefined,
  };
}

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
