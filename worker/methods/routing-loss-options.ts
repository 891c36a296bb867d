/** Options of the auxiliary losses, shared by the methods that allow them. */
import { z } from 'zod';
import type { RoutingLoss } from '#worker/model/index.ts';
import { baseRoutingLoss, loadBalancingLoss, sequenceBalancingLoss, zLoss } from './routing-losses.ts';

/** Fields of an options schema; spread them into the method's own. */
export const routingLossOptions = {
  auxLossCoefficient: z.number().min(0).default(0).meta({
    title: 'Load-balancing loss',
    unit: '× loss',
    description:
      'Pulls the router towards equal use of experts. 0: off, as in Hugging Face fine-tuning unless it is asked for.',
  }),
  auxLossPooling: z.enum(['pooled', 'perLayer', 'perSequence']).default('pooled').meta({
    title: 'Load-balancing population',
    description:
      'pooled: all layers together (Hugging Face); perLayer: each layer by itself (Switch Transformer); perSequence: each row by itself, padding counted, layers added up (DeepSeek-V2).',
    advanced: true,
  }),
  auxLossScores: z.enum(['model', 'softmax']).default('model').meta({
    title: 'Scores that auxiliary losses look at',
    description:
      'model: those of the router as a distribution, where it scores by sigmoid divided by their sum (DeepSeek-V3); softmax: the softmax of its logits in any case, as Hugging Face computes the load-balancing loss.',
    advanced: true,
  }),
  zLossCoefficient: z.number().min(0).default(0).meta({
    title: 'Router z-loss',
    unit: '× loss',
    description: 'Keeps router logits small (ST-MoE used 0.001). 0: off.',
    advanced: true,
  }),
  baseKlCoefficient: z.number().min(0).default(0).meta({
    title: 'KL to base routing',
    unit: '× loss',
    description: 'Holds routing to the probabilities that the checkpoint has. 0: off.',
    advanced: true,
  }),
  baseKlOn: z.enum(['training', 'general']).default('training').meta({
    title: 'KL to base routing is taken on',
    description:
      'training: on what is trained on, beside the checkpoint’s own router for the same input; routers that do not train are there already. general: on rows of the general data, beside the untouched model; a micro-batch more in each step.',
    advanced: true,
  }),
  baseKlTokens: z.int().positive().default(2048).meta({
    title: 'General tokens for KL to base routing',
    unit: 'tokens',
    description:
      'The first rows of the general data with no more tokens than this; each step looks at one micro-batch of them in turn.',
    advanced: true,
  }),
  auxAccumulation: z.enum(['mean', 'sum']).default('mean').meta({
    title: 'Auxiliary losses over micro-batches',
    description:
      'mean: independent of gradient accumulation; sum: grows with it, as the Hugging Face trainer does.',
    advanced: true,
  }),
};

const RoutingLossOptions = z.object(routingLossOptions);

/** The auxiliary losses that `options` switch on. */
export function routingLosses(options: z.output<typeof RoutingLossOptions>): RoutingLoss[] {
  const { auxLossCoefficient, auxLossPooling, zLossCoefficient, baseKlCoefficient } = options;
  const { baseKlOn, baseKlTokens } = options;
  const { auxAccumulation: accumulation, auxLossScores } = options;
  const losses = [
    auxLossPooling === 'perSequence'
      ? sequenceBalancingLoss(auxLossCoefficient, accumulation)
      : loadBalancingLoss(auxLossCoefficient, auxLossPooling, accumulation),
    zLoss(zLossCoefficient, accumulation),
    baseRoutingLoss(
      baseKlCoefficient,
      accumulation,
      baseKlOn === 'general' ? { tokens: baseKlTokens } : null,
    ),
  ];
  return losses
    .filter(({ coefficient }) => coefficient > 0)
    .map((loss) => (auxLossScores === 'softmax' ? { ...loss, readsSoftmax: true } : loss));
}
