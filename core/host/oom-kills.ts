/** Counts of processes the kernel killed for memory. */
import { readFileSync } from 'node:fs';

const counters = [
  // The control group this process is in, where it has one of its own (containers).
  { file: '/sys/fs/cgroup/memory.events', line: /^oom_kill (\d+)$/m },
  { file: '/proc/vmstat', line: /^oom_kill (\d+)$/m },
];

/** Sum of the kernel's counters; undefined where there are none (not Linux). */
export function countOomKills(): number | undefined {
  let sum: number | undefined;
  for (const { file, line } of counters) {
    const found = line.exec(readIfPresent(file))?.[1];
    if (found !== undefined) sum = (sum ?? 0) + Number(found);
  }
  return sum;
}

function readIfPresent(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // This system does not keep the counter.
  }
}
