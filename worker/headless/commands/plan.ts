/** `plan RUN.json`: what a run will need, and whether it can start. */
import { describeEstimateError, type EstimateError, type ExpertPreview } from '#core/contract/method.ts';
import { methodLabel } from '#core/contract/methods-together.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { withTemporaryFolder } from '#core/process/temporary-folder.ts';
import { pastErrorsIn } from '#core/host/index.ts';
import { probeBeside } from '#worker/runtime/index.ts';
import { planRun, previewExperts } from '#worker/train/index.ts';
import { dataFolder } from '../host-ports.ts';
import { ownWorkerProgram } from '../spawn-worker.ts';
import { EXIT, type Command } from './command.ts';
import { readSpec } from './find-run.ts';
import { count, megabytes, secondsRange, table } from './terminal.ts';
import path from 'node:path';

/** Plans the run; fails when something keeps it from starting. */
export const plan: Command = async (invocation) => {
  const spec = readSpec(invocation.args[0] ?? '', invocation.integer('steps'));
  const pastErrors = pastErrorsIn(path.resolve(invocation.home ?? dataFolder()));
  const { node, entry } = ownWorkerProgram();
  const planned = { ...(await planRun(spec, probeBeside(node, entry))), pastErrors };
  const experts = invocation.flag('experts') ? await previewed(spec) : null;
  const { memoryMB, diskMB, timeSeconds } = planned;
  const rows = [
    ['run', spec.name],
    ['method', methodLabel(spec.method)],
    ...(planned.steps === undefined ? [] : [['steps', count(planned.steps)]]),
    ['parameters', `${count(planned.trainableParameters)} trained of ${count(planned.totalParameters)}`],
    [
      'memory',
      `${megabytes(memoryMB.low)} to ${megabytes(memoryMB.high)}; ${megabytes(memoryMB.availableMB)} available`,
    ],
    ...pastError(pastErrors.memory),
    ...Object.entries(memoryMB.parts).map(([part, size]) => ['', `${part} ${megabytes(size)}`]),
    ...(memoryMB.recomputedLayers === 0
      ? []
      : [['', `${memoryMB.recomputedLayers} layers computed twice to stay within it`]]),
    ...(memoryMB.streamedLayers === 0
      ? []
      : [['', `frozen experts of ${memoryMB.streamedLayers} layers read from disk when they are used`]]),
    ...(planned.deviceMB === undefined
      ? []
      : [
          ['GPU memory', megabytes(planned.deviceMB.total)],
          ...Object.entries(planned.deviceMB.parts).map(([part, size]) => ['', `${part} ${megabytes(size)}`]),
          ...planned.deviceMB.measures.map((measure) => ['', measure]),
        ]),
    [
      'disk',
      `${megabytes(diskMB.perCheckpoint)} a checkpoint, ${megabytes(diskMB.total)} in all; ${megabytes(diskMB.freeMB)} free`,
    ],
    ...(timeSeconds === undefined
      ? []
      : [
          ['time', `${secondsRange(timeSeconds.low, timeSeconds.high)} (${timeSeconds.basis})`],
          ...pastError(pastErrors.time),
        ]),
  ];
  return {
    exitCode: planned.ok ? EXIT.done : EXIT.failed,
    document: experts === null ? planned : { ...planned, experts },
    text: [
      table(rows),
      ...planned.problems.map((problem) => `problem: ${problem}`),
      ...(experts === null ? [] : ['', describeExperts(experts)]),
    ].join('\n'),
  };
};

/** Which experts would train; tokenized data are thrown away, since no run may follow. */
function previewed(spec: RunSpec): Promise<ExpertPreview> {
  return withTemporaryFolder('preview', (cacheDir) => previewExperts(spec, cacheDir));
}

function describeExperts({ layers, scores, experts, shares, ...asked }: ExpertPreview): string {
  const sum = (lists: readonly (readonly unknown[])[]) =>
    lists.reduce((total, list) => total + list.length, 0);
  const size = (chosen: typeof asked) => [
    count(chosen.trainableParameters),
    megabytes(chosen.storedBytes / 1e6),
  ];
  return [
    table([
      ['share', `experts of ${sum(scores)}`, 'parameters', 'in a file'],
      ['as asked', String(sum(experts)), ...size(asked)],
      ...shares.map((choice) => [String(choice.share), String(sum(choice.experts)), ...size(choice)]),
    ]),
    '',
    table(layers.map((layer, index) => [`layer ${layer}`, (experts[index] ?? []).join(', ')])),
  ].join('\n');
}

function pastError(error: EstimateError | undefined): string[][] {
  return error === undefined ? [] : [['', describeEstimateError(error)]];
}
