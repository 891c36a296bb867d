/** How differently two runs use the experts of the same layers. */
import { z } from 'zod';
import { RunId } from './ids.ts';

/** Expert load of a run's last tenth. */
const EndLoad = z.object({
  id: RunId,
  name: z.string(),
  fromStep: z.int(),
  toStep: z.int(),
  /** Load ÷ uniform by layer and expert, to four decimals; a layer without selections is all zero. */
  load_LE: z.array(z.array(z.number())),
  /** Always-active experts of each layer after the last step. */
  condensers_L: z.array(z.array(z.int())),
});

/** The loads of two runs at their ends, expert by expert. */
export const UsageDifference = z.object({
  /** Decoder index of each row. */
  layers: z.array(z.int()),
  experts: z.int(),
  base: EndLoad,
  other: EndLoad,
  /** Load of `other` minus load of `base`, in multiples of the uniform load. */
  difference_LE: z.array(z.array(z.number())),
  /** Share of the selections of each layer that go to other experts than in `base` (total variation, 0 to 1). */
  moved_L: z.array(z.number()),
  /** End of the colour scale, from a fixed ladder so that pairs can be compared by eye: no cell is beyond it. */
  limit: z.number().positive(),
  /** What the map shows, in sentences. */
  words: z.array(z.string()),
});
export type UsageDifference = z.infer<typeof UsageDifference>;

/** The difference, or in a sentence why there is none. */
export const UsageComparison = z.union([UsageDifference, z.object({ absent: z.string() })]);
export type UsageComparison = z.infer<typeof UsageComparison>;
