import { z } from 'zod';

/** A share of answers, 0 to 1, with its 95 % interval. */
export const Share = z.object({ share: z.number(), low: z.number(), high: z.number() });
export type Share = z.infer<typeof Share>;
