import type { Migration } from '../migration.ts';
import { initial } from './0001-initial.ts';
import { softUsage } from './0002-soft-usage.ts';
import { deviceMemory } from './0003-device-memory.ts';
import { generalLoss } from './0004-general-loss.ts';

/** The schema of `run.db`, oldest first. */
export const runMigrations: readonly Migration[] = [initial, softUsage, deviceMemory, generalLoss];
