/** The user's choices that hold for every run. */
import { z } from 'zod';
import { Placement } from './run.ts';
import { ProviderChoice } from './run-spec.ts';

/** Fields have no defaults of their own: with them, a change of one setting would reset the others. */
export const Settings = z.strictObject({
  theme: z.enum(['system', 'light', 'dark']),
  /** What runs compute on where they leave it open. */
  provider: ProviderChoice,
  threads: z.union([z.literal('auto'), z.int().positive()]),
  memoryBudgetMB: z.int().positive().nullable(),
  deviceMemoryMB: z.int().positive().nullable(),
});
export type Settings = z.infer<typeof Settings>;

/** What holds until the user chooses. */
export const defaultSettings: Settings = {
  theme: 'system',
  provider: 'auto',
  threads: 'auto',
  memoryBudgetMB: null,
  deviceMemoryMB: null,
};

/** One execution provider: used, or the reason why not. */
export const DeviceInfo = z.object({
  cpu: z.object({ model: z.string(), cores: z.int(), instructionSets: z.array(z.string()) }),
  memoryMB: z.object({ total: z.number(), available: z.number() }),
  diskFreeMB: z.number(),
  providers: z.array(
    z.object({
      name: z.string(),
      used: z.boolean(),
      reason: z.string(),
      /** Where the operators of a training step ran, of a graphics adapter that was tried. */
      placement: Placement.optional(),
    }),
  ),
  versions: z.record(z.string(), z.string()),
});
export type DeviceInfo = z.infer<typeof DeviceInfo>;
