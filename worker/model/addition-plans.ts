/** What a method may add to the layers of experts of a model, as data: see `additions.ts`. */
import { z } from 'zod';

/** The gate reads `(σ(z) + b) / τ` in place of the router's logits z, σ the activation, b and τ learned: see `learnedLogits`. */
export const LearnedGatePlan = z.strictObject({ activation: z.enum(['identity', 'tanh', 'sigmoid']) });
export type LearnedGatePlan = z.output<typeof LearnedGatePlan>;

/** A small MLP, whose output is added to that of the experts: see `localExpertStage`. */
export const LocalExpertPlan = z.strictObject({
  rank: z.int().positive(),
  /**
   * `residual`: each layer has its own share of it. `output`: layers have it in full, and what the model then predicts is mixed
   * with what it predicts without.
   */
  mixture: z.enum(['residual', 'output']),
  /** Multiplies its output. */
  scale: z.number(),
  /** Each token has a learned share of it, or of the prediction, between 0 and 1. */
  gated: z.boolean(),
  /** When the model is used, the share is 1 where it is above this, else 0; null: it is what it is. */
  threshold: z.number().nullable(),
});
export type LocalExpertPlan = z.output<typeof LocalExpertPlan>;

/** Additions to a model: the same in every MoE layer. */
export const Additions = z.strictObject({
  learnedGate: LearnedGatePlan.nullable().default(null),
  localExpert: LocalExpertPlan.nullable().default(null),
});
export type Additions = z.output<typeof Additions>;
