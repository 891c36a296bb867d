/** One colour a run, for life: by the order in which runs were created. */
import type { RunSummary } from '#core/contract/run.ts';

const SERIES = 8;

/** Run id → colour token; a later run never changes an earlier one's colour. */
export function runColours(
  runs: readonly Pick<RunSummary, 'id' | 'createdMs'>[],
): ReadonlyMap<string, string> {
  const ordered = [...runs].sort((a, b) => a.createdMs - b.createdMs || a.id.localeCompare(b.id));
  return new Map(ordered.map((run, i) => [run.id, `--s${(i % SERIES) + 1}`]));
}
