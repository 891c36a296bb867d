/** `bench`: the inner loop of training on random tokens, timed. */
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { DeviceWeights, FrozenExperts, MomentFormat } from '#core/contract/run-spec.ts';
import type { Placement } from '#core/contract/run.ts';
import { unpaddedBatch, type MicroBatch } from '#worker/engine/index.ts';
import { GraphBuilder, op } from '#worker/graph/index.ts';
import { elementCount, type Parameter } from '#worker/model/index.ts';
import { productFlops } from '#worker/plan/index.ts';
import {
  DeviceTensor,
  createRuntime,
  describePlacement,
  summarizePlacement,
  zeroTensor,
  type Runtime,
} from '#worker/runtime/index.ts';
import { decoderPlanOf, type LoadedModel } from '#worker/train/index.ts';
import { sampleModel } from '../../host-ports.ts';
import { benchGenerate } from './bench-generate.ts';
import { loadForBench } from './bench-method.ts';
import { benchMethods } from './bench-methods.ts';
import { benchStep, tokenStream, WARM_UPS } from './bench-step.ts';
import type { Command } from '../command.ts';
import { checkDeviceWeights } from '../device-weights.ts';
import { describeKernels, kernelUse } from './kernel-use.ts';
import { measureLoad, ownSeconds } from './machine-load.ts';
import { quantile } from '../quantile.ts';
import { StageClock } from './stage-clock.ts';
import { count, megabytes, number, table } from '../terminal.ts';

/** Side of the product that speeds are compared with, and how often it is computed for one measurement. */
const GEMM_SIZE = 1024;
const GEMM_REPEATS = 6;

/** Times of one optimizer step, in milliseconds. */
interface StepTimes {
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

/** Trains a few steps and reports what they took. */
export const bench: Command = async (invocation) => {
  if (invocation.flag('generate')) return benchGenerate(invocation);
  const modelDir = path.resolve(invocation.text('model') ?? sampleModel());
  const method = invocation.text('method') ?? 'full';
  const batch = invocation.integer('batch') ?? 4;
  const sequence = invocation.integer('seq', 2) ?? 256;
  const steps = invocation.integer('steps') ?? 5;
  const threads = invocation.integer('threads') ?? 'auto';
  const moments = invocation.choice('moments', MomentFormat.options) ?? 'float32';
  const frozenExperts = invocation.choice('frozen-experts', FrozenExperts.options) ?? 'stored';
  const deviceWeights = invocation.choice('device-weights', DeviceWeights.options) ?? 'auto';
  const provider = invocation.choice('provider', ['cpu', 'webgpu']) ?? 'cpu';
  const file = invocation.text('tokens');
  if (method === 'all') {
    if (provider !== 'cpu' || moments !== 'float32' || frozenExperts !== 'stored') {
      throw new UserError(
        'bench/all-methods',
        '--method all compares processor time, with moments in float32 and experts as stored',
        'Leave out --provider, --moments and --frozen-experts, or name one method.',
      );
    }
    return benchMethods({ modelDir, batch, sequence, steps, threads, tokens: file }, invocation.terminal);
  }
  if (provider !== 'cpu' && frozenExperts !== 'stored') {
    throw new UserError(
      'bench/frozen-experts',
      '--frozen-experts int8 holds experts of programs on the CPU; on a graphics adapter --device-weights says how they lie',
      'Leave out --frozen-experts or --provider.',
    );
  }
  checkDeviceWeights(provider, deviceWeights);
  const recordPlacement = invocation.flag('profile');
  const clock = new StageClock(
    createRuntime({ provider, recordPlacement, ...(typeof threads === 'number' && { threads }) }),
  );
  const { vocabularySize } = await decoderPlanOf(modelDir);
  const tokens = tokenStream(file, vocabularySize, batch * sequence);
  const rowsOf = (ids: Int32Array) => unpaddedBatch(ids, batch, ids);
  const sample = rowsOf(tokens(-1));
  const model = await loadForBench(
    modelDir,
    method,
    { moments, frozenExperts, deviceWeights },
    sample,
    clock.runtime,
  );
  try {
    const gemm = await createGemm(clock.plain);
    const losses: number[] = [];
    const times: StepTimes[] = [];
    let firstStepMs = 0;
    for (let step = 0; step < WARM_UPS + steps; step++) {
      invocation.terminal.progress(`step ${step + 1}/${WARM_UPS + steps}`);
      const { loss, ...measured } = await timeStep(
        model,
        clock,
        rowsOf(tokens(step)),
        step,
        WARM_UPS + steps,
      );
      losses.push(loss);
      // Node counts from the start of the process.
      if (step === 0) firstStepMs = performance.now();
      else if (step >= WARM_UPS) times.push({ ...measured, gemmGflops: gemm() });
    }
    const summary = summarize(model, { batch, sequence, times, losses, firstStepMs });
    // After the summary: reading what was recorded takes memory too.
    const placed = clock.plain.endPlacement();
    const document = {
      ...summary,
      ...(clock.plain.device !== null && { deviceMB: clock.plain.device.liveBytes / 1e6 }),
      ...(recordPlacement && { kernels: kernelUse(placed, WARM_UPS + steps) }),
      ...(recordPlacement && provider !== 'cpu' && { placement: summarizePlacement(placed) }),
    };
    const request = {
      model: path.basename(modelDir),
      method,
      moments,
      frozenExperts,
      deviceWeights,
      batch,
      sequence,
      steps,
      provider,
    };
    return {
      document: { ...request, threads: model.runtime.threads, ...document },
      text: [
        describe(`${request.model} ${method} ${batch}x${sequence}`, document, recordPlacement),
        ...(document.kernels === undefined ? [] : [describeKernels(document.kernels)]),
        ...describeDevice(document),
      ].join('\n'),
    };
  } finally {
    model.close();
  }
};

async function timeStep(
  model: LoadedModel,
  clock: StageClock,
  batch: MicroBatch,
  step: number,
  totalSteps: number,
) {
  const load = measureLoad();
  const ownBefore = ownSeconds();
  clock.reset();
  const started = performance.now();
  let computed = started;
  let stages: Readonly<Record<string, number>> = {};
  const loss = await benchStep(model, batch, step, totalSteps, () => {
    computed = performance.now();
    stages = clock.milliseconds;
  });
  const ended = performance.now();
  const forwardEnd = clock.firstBackwardAt ?? computed;
  const inStages = Object.values(stages).reduce((sum, ms) => sum + ms, 0);
  return {
    loss,
    forward: forwardEnd - started,
    backward: computed - forwardEnd,
    optimizer: ended - computed,
    stages: { ...stages, 'between stages': computed - started - inStages },
    ownSeconds: ownSeconds() - ownBefore,
    othersCores: load(),
  };
}

/** A square product as large as the caches allow to be fast; returns what it reaches, in GFLOP/s. */
async function createGemm(runtime: Runtime): Promise<() => number> {
  const builder = new GraphBuilder('gemm');
  const shape = [GEMM_SIZE, GEMM_SIZE];
  const [x, w] = [builder.input('x', 'float32', shape), builder.input('w', 'float32', shape)];
  builder.output('y', op.matmul(x, w, { transB: true }));
  const program = await runtime.compile(builder.build(), { recorded: false });
  const feeds = { x: zeroTensor('float32', shape), w: zeroTensor('float32', shape) };
  // Zeros and denormals would be another speed on some processors.
  for (const { data } of [feeds.x, feeds.w]) for (let i = 0; i < data.length; i++) data[i] = 1;
  const y = zeroTensor('float32', shape);
  const { device } = runtime;
  // On a GPU the product is measured, not the way there and back.
  const [given, target] =
    device === null
      ? [feeds, y]
      : [{ x: device.upload(feeds.x), w: device.upload(feeds.w) }, device.upload(y)];
  const run = (): void => {
    program.run(given, { y: target });
  };
  const wait = (): void => {
    if (target instanceof DeviceTensor) device?.read(target, y.data as Float32Array);
  };
  return () => {
    run();
    wait();
    const started = performance.now();
    for (let i = 0; i < GEMM_REPEATS; i++) run();
    wait();
    return (GEMM_REPEATS * 2 * GEMM_SIZE ** 3) / (performance.now() - started) / 1e6;
  };
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

interface Measured {
  readonly batch: number;
  readonly sequence: number;
  readonly times: readonly StepTimes[];
  readonly losses: readonly number[];
  readonly firstStepMs: number;
}

function summarize(model: LoadedModel, { batch, sequence, times, losses, firstStepMs }: Measured) {
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

/** Memory of a GPU, and what of the step it did not compute. */
function describeDevice({
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

function describe(title: string, result: ReturnType<typeof summarize>, profile: boolean): string {
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
