/** `plan RUN.json`: what a run will need, and whether it can start. */
import path from 'node:path';
import { describeEstimateError, type EstimateError } from '#core/contract/method.ts';
import { pastErrorsIn } from '#core/host/index.ts';
import { planRun } from '#worker/train/index.ts';
import { probeBeside } from '#worker/runtime/index.ts';
import { dataFolder } from '../host-ports.ts';
import { ownWorkerProgram } from '../spawn-worker.ts';
import { EXIT, type Command } from './command.ts';
import { readSpec } from './find-run.ts';
import { count, megabytes, secondsRange, table } from './terminal.ts';

/** Plans the run; fails when something keeps it from starting. */
export const plan: Command = async (invocation) => {
  const spec = readSpec(invocation.args[0] ?? '', invocation.integer('steps'));
  const pastErrors = pastErrorsIn(path.resolve(invocation.home ?? dataFolder()));
  const { node, entry } = ownWorkerProgram();
  const planned = { ...(await planRun(spec, probeBeside(node, entry))), pastErrors };
  const { memoryMB, diskMB, timeSeconds } = planned;
  const rows = [
    ['run', spec.name],
    ['method', spec.method.name],
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
    document: planned,
    text: [table(rows), ...planned.problems.map((problem) => `problem: ${problem}`)].join('\n'),
  };
};

function pastError(error: EstimateError | undefined): string[][] {
  return error === undefined ? [] : [['', describeEstimateError(error)]];
}
