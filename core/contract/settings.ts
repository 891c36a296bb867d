/** The user's choices that hold for every run. */
import { z } from 'zod';

export const Settings = z.strictObject({
  theme: z.enum(['system', 'light', 'dark']).default('system'),
  threads: z.union([z.literal('auto'), z.int().positive()]).default('auto'),
  memoryBudgetMB: z.int().positive().nullable().default(null),
});
export type Settings = z.infer<typeof Settings>;

/** One execution provider: used, or the reason why not. */
export const DeviceInfo = z.object({
  cpu: z.object({ model: z.string(), cores: z.int(), instructionSets: z.array(z.string()) }),
  memoryMB: z.object({ total: z.number(), available: z.number() }),
  diskFreeMB: z.number(),
  providers: z.array(z.object({ name: z.string(), used: z.boolean(), reason: z.string() })),
  versions: z.record(z.string(), z.string()),
});
export type DeviceInfo = z.infer<typeof DeviceInfo>;
