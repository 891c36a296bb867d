/** What deserves attention in a run, as a sentence with its number, what it compares to, and one thing to do. */
import { z } from 'zod';
import { RunId } from './ids.ts';

/** A finding and where it points. */
export const RunFinding = z.object({
  /** Stable name of the rule. */
  rule: z.enum([
    'concentration',
    'dead-experts',
    'gini-change',
    'drift',
    'overfitting',
    'validation',
    'not-learning',
    'clipping',
    'loss-spike',
    'gradient-spike',
  ]),
  severity: z.enum(['warning', 'info', 'good']),
  /** Number and comparison. */
  text: z.string(),
  /** One thing to do about it. */
  action: z.string(),
  /** Decoder layer, expert of that layer and step to look at, where the finding is about one. */
  layer: z.int().optional(),
  expert: z.int().optional(),
  step: z.int().optional(),
});
export type RunFinding = z.infer<typeof RunFinding>;

/** Findings of a run as far as step `step`; of all of it when absent. */
export const RunFindingsQuery = z.object({ id: RunId, step: z.int().positive().optional() });
