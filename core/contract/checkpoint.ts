/** A resumable state on disk. */
import { z } from 'zod';

/** A checkpoint of a run, and when it was saved. */
export const CheckpointInfo = z.object({
  step: z.int(),
  path: z.string(),
  bytes: z.number(),
  wallMs: z.number(),
});
export type CheckpointInfo = z.infer<typeof CheckpointInfo>;
