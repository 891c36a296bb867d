/**
 * The worker's second thread: it goes on while the main thread is blocked in a computation.
 *
 * Each second it writes `heartbeat.json` (WP7), so that a host can tell a long step from a dead process (WP8), and
 * looks whether the parent process is still there. A worker without parent has `graceMs` to save and leave by itself;
 * then this thread ends the whole process, because a blocked main thread can do nothing about it.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import type { Heartbeat } from '#core/contract/worker-protocol.ts';
import { phases, type HeartbeatOptions } from './heartbeat.ts';

const options = workerData as HeartbeatOptions;
const pulse = new Int32Array(options.pulse);
const temporary = `${options.file}.tmp`;
let writeFailed = false;
let orphanedSinceMs: number | undefined;

function phaseNow(): Heartbeat['phase'] {
  return phases[Atomics.load(pulse, 0)] ?? 'preparing';
}

/** Written beside and renamed: a reader sees the former text or this one, never half of either. */
function writeHeartbeat(): void {
  const heartbeat: Heartbeat = {
    pid: process.pid,
    wallMs: Date.now(),
    phase: phaseNow(),
    step: Atomics.load(pulse, 1),
    microBatch: Atomics.load(pulse, 2),
    rssMB: process.memoryUsage.rss() / 1e6,
  };
  try {
    writeFileSync(temporary, JSON.stringify(heartbeat));
    renameSync(temporary, options.file);
    writeFailed = false;
  } catch (error) {
    // A full disk ends the run through the facts that cannot be committed; a heartbeat alone is no reason to.
    if (!writeFailed) console.error(`cannot write ${options.file}: ${String(error)}`);
    writeFailed = true;
  }
}

function endWhenOrphaned(): void {
  if (options.parentPid === null || process.ppid === options.parentPid) return;
  orphanedSinceMs ??= Date.now();
  // A save in progress is worth waiting for: it is what the next start goes on from.
  const saving = phaseNow() === 'checkpointing' || phaseNow() === 'ending';
  if (Date.now() - orphanedSinceMs < (saving ? 60 : 1) * options.graceMs) return;
  console.error('the parent process is gone; ending');
  process.kill(process.pid, 'SIGKILL');
}

writeHeartbeat();
setInterval(() => {
  writeHeartbeat();
  endWhenOrphaned();
}, options.intervalMs);
