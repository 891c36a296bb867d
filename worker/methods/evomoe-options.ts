/** The options of the dense-to-sparse gate, and the temperature they make. */
import { z } from 'zod';

/** What a user can set. */
export const EvoOptions = z.strictObject({
  threshold: z.number().positive().max(0.5).default(0.001).meta({
    title: 'Threshold',
    description: 'A token goes to every expert whose share of the noisy softmax is larger.',
  }),
  temperatureStart: z.number().positive().default(2).meta({
    title: 'Temperature at the start',
    description: 'High: the noisy softmax is even, and tokens go to nearly all experts.',
  }),
  temperatureEnd: z.number().positive().default(0.3).meta({
    title: 'Temperature at the end',
    description: 'Low: the noisy softmax has few peaks, and tokens go to few experts.',
  }),
  schedule: z.enum(['exponential', 'linear']).default('exponential').meta({
    title: 'Fall of the temperature',
    description: 'exponential: by the same factor each step; linear: by the same amount.',
    advanced: true,
  }),
  fallShare: z.number().positive().max(1).default(0.75).meta({
    title: 'Part of the steps in which it falls',
    description: 'Then the temperature stays, and a token goes to the fewest experts only.',
  }),
  fewest: z.enum(['published', 'one']).default('published').meta({
    title: 'Fewest experts of a token',
    description:
      'published: those the checkpoint’s router chooses, so that the trained model is used like its base; one: the best only, as in the paper.',
  }),
  noisyWeights: z.boolean().default(false).meta({
    title: 'Noise in the weights',
    description:
      'Weights are the noisy softmax itself, so that its gradient trains the router too; otherwise the plain softmax.',
    advanced: true,
  }),
  auxLossCoefficient: z.number().min(0).default(0.01).meta({
    title: 'Balancing loss',
    unit: '× loss',
    description: 'Pulls towards equal use of experts. 0: off.',
  }),
  diversifyShare: z.number().min(0).lt(1).default(0).meta({
    title: 'Part of the steps with one shared expert',
    description:
      'The first phase of the paper: at first all tokens go to the first expert of each layer alone; then all experts become copies of it, changed at random, and the temperature begins to fall. 0: experts start as the checkpoint has them. What the other experts know is lost.',
    advanced: true,
  }),
  diversity: z.enum(['mask', 'noise']).default('mask').meta({
    title: 'How copies differ',
    description:
      'mask: some weights of each copy are set to zero, as in the paper; noise: normal noise is added.',
    advanced: true,
  }),
  diversityAmount: z.number().min(0).lt(1).default(0.1).meta({
    title: 'How much copies differ',
    description:
      'Share of the weights set to zero, or size of the noise relative to that of a matrix. The value of the paper is not known here.',
    advanced: true,
  }),
  fallSteps: z.int().positive().nullable().default(null).meta({
    title: 'Steps in which the temperature falls',
    description: 'In place of the part of the steps.',
    advanced: true,
  }),
});
/** The options with their defaults. */
export type EvoOptions = z.output<typeof EvoOptions>;

/** Temperature of a step: from start to end in `fall` steps, then constant. */
export function temperatureAt(
  { temperatureStart: start, temperatureEnd: end, schedule }: EvoOptions,
  step: number,
  fall: number,
): number {
  const part = Math.min(1, step / fall);
  return schedule === 'linear' ? start - part * (start - end) : start * (end / start) ** part;
}
