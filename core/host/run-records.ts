/** What lists and screens show of a run: its row, its directory and its database in one. */
import type { RunDetail, RunSummary } from '#core/contract/run.ts';
import { isEnded } from '#core/contract/run-state.ts';
import { readRunSpec, type RunRow } from '#core/store/index.ts';
import { readHeartbeat } from './liveness.ts';
import type { RunReaders } from './run-readers.ts';

/** One line of the run list. */
export function summarize(row: RunRow, readers: RunReaders): RunSummary {
  const progress = readers.read<Pick<RunSummary, 'lastStep' | 'totalSteps' | 'lastLoss'>>(
    row.dir,
    { lastStep: 0 },
    (reader) => {
      const totalSteps = reader.facts()?.totalSteps;
      const { lastLoss } = reader.totals();
      return {
        lastStep: reader.marks().lastStep,
        ...(totalSteps !== undefined && { totalSteps }),
        ...(lastLoss !== undefined && { lastLoss }),
      };
    },
  );
  const { id, name, state, method, modelName, createdMs, reason } = row;
  return {
    id,
    name,
    state,
    method,
    modelName,
    createdMs,
    ...progress,
    ...(reason !== undefined && { reason }),
  };
}

/** Everything the run's own screen shows besides its series. */
export function describeRun(row: RunRow, readers: RunReaders, nowMs: number): RunDetail {
  const measured = readers.read<
    Pick<RunDetail, 'facts' | 'checkpoints' | 'peakRssMB' | 'peakDeviceMB' | 'trainedSeconds'>
  >(row.dir, { checkpoints: [], trainedSeconds: 0 }, (reader) => {
    const facts = reader.facts();
    const { seconds, peakRssMB, peakDeviceMB } = reader.totals();
    return {
      checkpoints: reader.checkpoints(),
      trainedSeconds: seconds,
      ...(facts && { facts }),
      ...(peakRssMB !== undefined && { peakRssMB }),
      ...(peakDeviceMB !== undefined && { peakDeviceMB }),
    };
  });
  const heartbeat = isEnded(row.state) || row.state === 'queued' ? undefined : readHeartbeat(row.dir);
  return {
    ...summarize(row, readers),
    spec: readRunSpec(row.dir),
    ...measured,
    ...(row.exit !== undefined && { exit: row.exit }),
    ...(row.error !== undefined && { error: row.error }),
    ...(heartbeat && { heartbeatAgeMs: Math.max(0, nowMs - heartbeat.wallMs) }),
  };
}
