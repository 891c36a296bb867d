/** How much of the machine other programs take while something is measured. */
import { existsSync, readFileSync } from 'node:fs';

/** Ticks of `/proc/stat` in a second; fixed on Linux. */
const TICKS = 100;

/**
 * Starts to watch.
 * @returns a function that gives the cores other programs kept busy since, on average; undefined where the system
 *   does not tell (it is read from `/proc/stat`).
 */
export function measureLoad(): () => number | undefined {
  const [busy, own, started] = [busySeconds(), ownSeconds(), performance.now()];
  return () => {
    const now = busySeconds();
    if (busy === undefined || now === undefined) return undefined;
    const seconds = (performance.now() - started) / 1000;
    return Math.max(0, (now - busy - (ownSeconds() - own)) / seconds);
  };
}

/** Seconds all cores together were not idle. */
function busySeconds(): number | undefined {
  if (!existsSync('/proc/stat')) return undefined;
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = (
    readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? ''
  )
    .split(/\s+/)
    .map(Number);
  return (user + nice + system + irq + softirq) / TICKS;
}

/** Processor time of this process so far, in seconds. */
export function ownSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
