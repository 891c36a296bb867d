/** `bench`: the inner loop of training on random tokens, timed. */
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { DeviceWeights, FrozenExperts, MomentFormat } from '#core/contract/run-spec.ts';
import { unpaddedBatch, type MicroBatch } from '#worker/engine/index.ts';
import { createRuntime, summarizePlacement } from '#worker/runtime/index.ts';
import { decoderPlanOf, type LoadedModel } from '#worker/train/index.ts';
import { sampleModel } from '../../host-ports.ts';
import { benchGenerate } from './bench-generate.ts';
import { loadForBench } from './bench-method.ts';
import { benchMethods } from './bench-methods.ts';
import { benchStep, tokenStream, WARM_UPS } from './bench-step.ts';
import { describeDevice, describeSummary, summarize, type StepTimes } from './bench-summary.ts';
import type { Command, Invocation } from '../command.ts';
import { checkDeviceWeights } from '../device-weights.ts';
import { createGemm } from './gemm-speed.ts';
import { describeKernels, kernelUse } from './kernel-use.ts';
import { measureLoad, ownSeconds } from './machine-load.ts';
import { StageClock } from './stage-clock.ts';

/** Trains a few steps and reports what they took. */
export const bench: Command = async (invocation) => {
  if (invocation.flag('generate')) return benchGenerate(invocation);
  const { modelDir, threads, tokens: file, ...asked } = readOptions(invocation);
  const { method, batch, sequence, steps, moments, frozenExperts, deviceWeights, provider } = asked;
  if (method === 'all')
    return benchMethods({ modelDir, batch, sequence, steps, threads, tokens: file }, invocation.terminal);
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
    const name = path.basename(modelDir);
    return {
      document: { model: name, ...asked, threads: model.runtime.threads, ...document },
      text: [
        describeSummary(`${name} ${method} ${batch}x${sequence}`, document, recordPlacement),
        ...(document.kernels === undefined ? [] : [describeKernels(document.kernels)]),
        ...describeDevice(document),
      ].join('\n'),
    };
  } finally {
    model.close();
  }
};

/** @throws UserError `bench/…` for options that do not go together. */
function readOptions(invocation: Invocation) {
  const options = {
    modelDir: path.resolve(invocation.text('model') ?? sampleModel()),
    method: invocation.text('method') ?? 'full',
    moments: invocation.choice('moments', MomentFormat.options) ?? 'float32',
    frozenExperts: invocation.choice('frozen-experts', FrozenExperts.options) ?? 'stored',
    deviceWeights: invocation.choice('device-weights', DeviceWeights.options) ?? 'auto',
    batch: invocation.integer('batch') ?? 4,
    sequence: invocation.integer('seq', 2) ?? 256,
    steps: invocation.integer('steps') ?? 5,
    provider: invocation.choice('provider', ['cpu', 'webgpu']) ?? 'cpu',
    threads: invocation.integer('threads') ?? ('auto' as const),
    tokens: invocation.text('tokens'),
  };
  const { method, moments, frozenExperts, deviceWeights, provider } = options;
  if (method === 'all' && (provider !== 'cpu' || moments !== 'float32' || frozenExperts !== 'stored')) {
    throw new UserError(
      'bench/all-methods',
      '--method all compares processor time, with moments in float32 and experts as stored',
      'Leave out --provider, --moments and --frozen-experts, or name one method.',
    );
  }
  if (provider !== 'cpu' && frozenExperts !== 'stored') {
    throw new UserError(
      'bench/frozen-experts',
      `--frozen-experts ${frozenExperts} holds experts of programs on the CPU; on a graphics adapter --device-weights says how they lie`,
      'Leave out --frozen-experts or --provider.',
    );
  }
  checkDeviceWeights(provider, deviceWeights);
  return options;
}

/** One step, with the phases and stages it is made of. */
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
