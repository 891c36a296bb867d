import type { Migration } from '../migration.ts';
import { initial } from './0001-initial.ts';

/** The schema of `app.db`, oldest first. */
export const appMigrations: readonly Migration[] = [initial];
