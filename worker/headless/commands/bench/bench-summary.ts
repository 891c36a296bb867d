/** What the steps of `bench` took, as a document and in words. */
import type { Placement } from '#core/contract/run.ts';
import { elementCount, type Parameter } from '#worker/model/index.ts';
import { productFlops } from '#worker/plan/index.ts';
import { describePlacement } from '#worker/runtime/index.ts';
import type { LoadedModel } from '#worker/train/index.ts';
import { quantile } from '../quantile.ts';
import { count, megabytes, number, table } from '../terminal.ts';
import { GEMM_SIZE } from './gemm-speed.ts';

/** Times of one optimizer step, in milliseconds. */
export interface StepTimes {
  readonly forward: number;
  readonly backward: number;
  readonly optimizer: number;
  /** By kind of stage, and what is left: copies between stages, the choice of experts, JavaScript. */
  readonly stages: Readonly<Record<string, number>>;
  /** Processor time of this process, in seconds. */
  readonly ownSeconds: number;
  readonly gemmGflops: number;
  readonly othersCores: number | undefined;
}

/**
 * Floating-point operations of one step that the mathematics needs: those of the products, and attention scores at half, since
 * half of them are masked. Recomputation and padding do not count.
 */
function usefulFlops({ plan, store, session }: LoadedModel, batch: number, sequence: number): number {
  const isTrained = ({ id }: Parameter) => store.isTrained(id);
  const { parameters } = store;
  const products = productFlops({ plan, parameters, isTrained, session });
  const contexts = parameters.reduce(
    (sum, { role, shape }) => sum + (role === 'output' ? (shape[1] ?? 0) : 0),
    0,
  );
  return batch * sequence * (products + 6 * sequence * contexts);
}

/** What was measured of a few steps. */
interface Measured {
  readonly batch: number;
  readonly sequence: number;
  readonly times: readonly StepTimes[];
  readonly losses: readonly number[];
  readonly firstStepMs: number;
}

/** Medians over the steps, and speeds that follow from them. */
export function summarize(model: LoadedModel, { batch, sequence, times, losses, firstStepMs }: Measured) {
  const { store } = model;
  const of = (get: (step: StepTimes) => number) => median(times.map(get));
  const totals = times.map((step) => step.forward + step.backward + step.optimizer);
  const tokens = batch * sequence;
  const trainableParameters = store.parameters
    .filter(({ id }) => store.isTrained(id))
    .reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const flops = usefulFlops(model, batch, sequence);
  const gflops = flops / median(totals) / 1e6;
  const gemmGflops = of((step) => step.gemmGflops);
  const stageNames = Object.keys(times[0]?.stages ?? {});
  const others = times.flatMap(({ othersCores }) => (othersCores === undefined ? [] : [othersCores]));
  return {
    tokensPerSecond: {
      median: (1000 * tokens) / median(totals),
      best: (1000 * tokens) / Math.min(...totals),
    },
    /** Steadier than tokens/s on a machine that others use too. */
    tokensPerCoreSecond: tokens / of((step) => step.ownSeconds),
    /** The head with its loss is computed forward and backward at once, and counts as backward. */
    phasesMs: {
      forward: of((step) => step.forward),
      backward: of((step) => step.backward),
      optimizer: of((step) => step.optimizer),
    },
    stagesMs: Object.fromEntries(stageNames.map((name) => [name, of((step) => step.stages[name] ?? 0)])),
    stepsMs: totals,
    // The system counts units of 1024 bytes.
    peakRssMB: (process.resourceUsage().maxRSS * 1024) / 1e6,
    firstStepMs,
    usefulGflops: gflops,
    gemmGflops,
    gemmShare: gflops / gemmGflops,
    ...(others.length > 0 && { othersCores: others.reduce((sum, cores) => sum + cores, 0) / others.length }),
    trainableParameters,
    losses,
  };
}

/** Memory of a GPU, and what of the step it did not compute, in words. */
export function describeDevice({
  deviceMB,
  placement,
}: {
  readonly deviceMB?: number;
  readonly placement?: Placement;
}): string[] {
  if (deviceMB === undefined) return [];
  const rows = [
    ['memory of the GPU', megabytes(deviceMB)],
    ...(placement === undefined ? [] : [['placement', describePlacement(placement)]]),
  ];
  return [table(rows)];
}

const median = (values: readonly number[]) => quantile(values, 0.5);

/** A summary as a table. @param profile also with the time of each kind of stage. */
export function describeSummary(
  title: string,
  result: ReturnType<typeof summarize>,
  profile: boolean,
): string {
  const { tokensPerSecond, phasesMs, stagesMs, othersCores } = result;
  const step = phasesMs.forward + phasesMs.backward + phasesMs.optimizer;
  const milliseconds = (ms: number) => `${number(ms, 3)} ms (${number((100 * ms) / step, 2)} %)`;
  const stages = Object.entries(stagesMs).sort(([, a], [, b]) => b - a);
  return [
    table([
      [title, `${count(result.trainableParameters)} parameters trained`],
      ['tokens/s', `${number(tokensPerSecond.median)} median, ${number(tokensPerSecond.best)} best`],
      ...Object.entries(phasesMs).map(([phase, ms]) => [phase, milliseconds(ms)]),
      ...(profile ? stages.map(([stage, ms]) => [`  ${stage}`, milliseconds(ms)]) : []),
      ['peak memory', megabytes(result.peakRssMB)],
      ['first step', `${number(result.firstStepMs / 1000, 3)} s after the start of the process`],
      [
        'useful',
        `${number(result.usefulGflops, 3)} GFLOP/s, ${number(100 * result.gemmShare, 2)} % of ` +
          `${number(result.gemmGflops, 3)} of a ${GEMM_SIZE}³ product between the steps`,
      ],
      ...(othersCores === undefined
        ? []
        : [['disturbed by', `${number(othersCores, 2)} cores busy for other programs`]]),
      ['losses', result.losses.map((loss) => loss.toFixed(4)).join(' ')],
    ]),
  ].join('\n');
}
