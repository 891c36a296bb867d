import type { StoreKind } from './open.ts';
import { runMigrations } from './migrations/run-db/index.ts';

/** `run.db`: written by the run's worker only, read by everyone. */
export const runStore: StoreKind = {
  title: 'run database',
  applicationId: 0x43445231,
  migrations: runMigrations,
};
