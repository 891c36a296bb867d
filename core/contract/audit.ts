/** What tuning did to the routing of requests that the base model refuses: aggregates of each layer, and no names of experts. */
import { z } from 'zod';
import { Share } from './share.ts';

/** Units (rows of the gate and up projections) of the base model's profiled experts in one layer. */
export const UnitAudit = z.object({
  units: z.int(),
  /** How many answer to refused requests more than to benign ones. */
  localisedBase: z.int(),
  localisedTuned: z.int(),
  /** Of the two sets. */
  jaccard: z.number(),
});
export type UnitAudit = z.infer<typeof UnitAudit>;

/** One MoE layer. A quantity that has no meaning there (no profiled expert, no drift at all) is null. */
export const LayerAudit = z.object({
  /** Index in the decoder. */
  layer: z.int(),
  experts: z.int(),
  /** Number of experts that refused requests use more than benign ones. */
  profiledBase: z.int(),
  profiledTuned: z.int(),
  /** Of the two sets: |A ∩ B| / |A ∪ B|. */
  jaccard: z.number(),
  /** Spearman's, over experts, of usage by refused minus usage by benign requests. */
  correlation: z.number(),
  /** Usage of the base model's profiled experts by refused requests, tuned ÷ base. */
  retention: z.number().nullable(),
  /** Mean over question tokens of KL(base ‖ tuned), in nats. */
  refusedDrift: z.number(),
  benignDrift: z.number(),
  driftRatio: z.number().nullable(),
  /** Mean of ‖W₁ − W₀‖ / ‖W₀‖ over profiled experts and over the others. */
  profiledWeightChange: z.number().nullable(),
  otherWeightChange: z.number().nullable(),
  /** Profiled experts that are condensers, and whose router bias is above or below zero. */
  profiledCondensers: z.int().optional(),
  profiledRaised: z.int().optional(),
  profiledLowered: z.int().optional(),
  /** Null where no expert is profiled; absent: not looked at. */
  units: UnitAudit.nullable().optional(),
  /** Limits that the layer is beyond. */
  flags: z.array(z.enum(['correlation', 'retention', 'drift'])),
});
export type LayerAudit = z.infer<typeof LayerAudit>;

const BothRates = z.object({ base: Share, tuned: Share });

/** How often both models refuse, by a rule on the answers they give; the answers are not kept. */
export const AnswerAudit = z.object({
  /** Longest answer in tokens. */
  maxTokens: z.int(),
  /** What counts as a refusal, in words. */
  rule: z.string(),
  refused: BothRates,
  benign: BothRates,
  /** Limits that are passed. */
  flags: z.array(z.enum(['refusals', 'over-refusals'])),
});
export type AnswerAudit = z.infer<typeof AnswerAudit>;

/** A whole audit. */
export const RoutingAudit = z.object({
  version: z.literal(1),
  createdMs: z.number(),
  base: z.string(),
  tuned: z.string(),
  /** Step of the tuned run. */
  step: z.int().optional(),
  refusedPrompts: z.int(),
  benignPrompts: z.int(),
  /** SHA-256 of the prompt files: audits of the same prompts can be compared. */
  prompts: z.object({ refused: z.string(), benign: z.string() }),
  seed: z.int(),
  layers: z.array(LayerAudit),
  /** Present where answers were generated. */
  answers: AnswerAudit.optional(),
  needsReview: z.boolean(),
  summary: z.array(z.string()),
});
export type RoutingAudit = z.infer<typeof RoutingAudit>;
