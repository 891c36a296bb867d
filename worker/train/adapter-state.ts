/** The adapters of a run as JSON, for its checkpoints. */
import { z } from 'zod';
import type { AdapterPlan } from '#worker/model/index.ts';

/** An `AdapterPlan` whose sets and maps are arrays and objects. */
export const AdapterState = z
  .discriminatedUnion('kind', [
    z.object({
      kind: z.literal('low-rank'),
      roles: z.record(z.string(), z.object({ rank: z.int(), alpha: z.number() })),
      rankStabilised: z.boolean(),
      magnitude: z.boolean(),
      dropout: z.number().default(0),
    }),
    z.object({
      kind: z.literal('submatrices'),
      size: z.int(),
      places: z.record(z.string(), z.array(z.tuple([z.int(), z.int()]))),
    }),
  ])
  .nullable();
type AdapterState = z.output<typeof AdapterState>;

function byRole([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

/** A plan as a checkpoint holds it; equal plans give equal JSON. */
export function toState(plan: AdapterPlan | null): AdapterState {
  switch (plan?.kind) {
    case undefined:
      return null;
    case 'low-rank':
      return AdapterState.parse({ ...plan, roles: Object.fromEntries([...plan.roles].sort(byRole)) });
    case 'submatrices':
      return AdapterState.parse({ ...plan, places: Object.fromEntries(plan.places) });
  }
}

/** The plan that `toState` was given. */
export function fromState(state: AdapterState): AdapterPlan | null {
  switch (state?.kind) {
    case undefined:
      return null;
    case 'low-rank':
      return { ...state, roles: new Map(Object.entries(state.roles)) };
    case 'submatrices':
      return { ...state, places: new Map(Object.entries(state.places)) };
  }
}
