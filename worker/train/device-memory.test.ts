/** Runs that a graphics adapter has too little memory for: within the budget, and with the results of those that fit. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseRunSpec, type MomentFormat } from '#core/contract/run-spec.ts';
import { gradientNorm, unpaddedBatch } from '#worker/engine/index.ts';
import { checkDevice, planDevice, type DevicePlan } from '#worker/plan/index.ts';
import { createRuntime } from '#worker/runtime/index.ts';
import { finishStep } from './finish-step.ts';
import { loadModel, type LoadRequest } from './load-model.ts';

const modelDir = join(import.meta.dirname, '../testing/goldens/families/olmoe/model');
const ROWS = 2;
const TOKENS = 24;
const STEPS = 2;
const settings = { betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0.01, maxGradNorm: 1 } as const;

/** Programs are compiled once for all models, of which one is open at a time. */
const onDevice = createRuntime({ provider: 'webgpu' });
const shared = { ...onDevice, release: () => onDevice.device?.release() };

let work = '';
let esft: LoadRequest['method'];
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'condenser-device-memory-'));
  const expertConfig = join(work, 'expert_cfg.json');
  const experts = { 0: [1], 1: [0, 3], 2: [] };
  writeFileSync(expertConfig, JSON.stringify({ experts, shared_experts: false, non_expert_modules: false }));
  esft = { name: 'esft', options: { expertConfig } };
});
afterAll(() => {
  onDevice.release();
  rmSync(work, { recursive: true, force: true });
});

interface Trained {
  readonly plan: DevicePlan | null;
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  readonly weights: ReadonlyMap<string, Float32Array>;
  /** Most bytes of tensors on the adapter. */
  readonly peakBytes: number;
}

/** Two optimizer steps of two micro-batches each. */
async function train(
  method: LoadRequest['method'],
  options: {
    readonly provider?: 'cpu' | 'webgpu';
    readonly budgetMB?: number | null;
    readonly moments?: MomentFormat;
    /** Layers whose frozen experts stay on disk. */
    readonly diskLayers?: number;
  } = {},
): Promise<Trained> {
  const { provider = 'webgpu', budgetMB = null, moments = 'float32', diskLayers = 0 } = options;
  const spec = parseRunSpec({
    model: { path: modelDir },
    data: { train: [{ path: '/data.jsonl' }], maxLength: TOKENS },
    method,
    train: { steps: STEPS, microBatch: ROWS, optimizer: { moments } },
  });
  const model = await loadModel({
    modelDir,
    method,
    moments,
    ...(provider === 'webgpu' ? { runtime: shared } : { provider, threads: 1 }),
    planMemory: () => ({ totalMB: 0, parts: {}, recomputedLayers: 0, streamedLayers: diskLayers }),
    planDevice: (layout, onDisk) => checkDevice(planDevice(layout, spec, budgetMB, onDisk), budgetMB),
  });
  try {
    const { executor, optimizer, session, store, runtime, devicePlan } = model;
    runtime.device?.takePeakBytes();
    const losses: number[] = [];
    const norms: number[] = [];
    for (let step = 0; step < STEPS; step++) {
      const at = { step, totalSteps: STEPS, microBatch: 1, microBatches: 2 };
      for (let half = 0; half < 2; half++) {
        const ids = Int32Array.from(
          { length: ROWS * TOKENS },
          (_, i) => 5 + (((2 * step + half + 1) * (i + 3) * 37) % 190),
        );
        const { lossSum, usage } = await executor.train(unpaddedBatch(ids, ROWS, ids), 2 * ROWS * TOKENS, 2);
        losses.push(lossSum);
        session.afterMicroBatch(usage, { ...at, microBatch: half });
      }
      norms.push(gradientNorm(optimizer.gradientSquares()));
      optimizer.step(settings, step + 1, 1e-3, norms.at(-1) ?? NaN, session.frozen);
      finishStep(model, at);
    }
    const trained = store.parameters.filter(({ id }) => store.isTrained(id));
    return {
      plan: devicePlan,
      losses,
      norms,
      weights: new Map(trained.map(({ id }) => [id, store.values(id)])),
      peakBytes: runtime.device?.takePeakBytes() ?? 0,
    };
  } finally {
    model.close();
  }
}

/** Tensors, without what runs take while they last. */
const tensorsMB = (plan: DevicePlan | null) => (plan?.totalMB ?? NaN) - (plan?.parts['work space'] ?? NaN);

function expectWithin(trained: Trained): void {
  // The factors of AdamW and the sums of squares are the only ones beside.
  expect(trained.peakBytes / 1e6).toBeLessThan(tensorsMB(trained.plan) + 0.01);
  expect(trained.peakBytes / 1e6).toBeGreaterThan(0.5 * tensorsMB(trained.plan));
}

/** As float32 sums in another order may differ: AdamW divides small gradients by themselves. */
function expectClose(got: Trained, want: Trained): void {
  for (const name of ['losses', 'norms'] as const)
    got[name].forEach((value, at) => expect(value / (want[name][at] ?? NaN)).toBeCloseTo(1, 3));
  for (const [id, weights] of want.weights) {
    const other = got.weights.get(id);
    const off = weights.reduce((sum, value, i) => sum + Math.abs(value - (other?.[i] ?? NaN)), 0);
    // A step moves a weight by the learning rate at most.
    expect(off / weights.length, id).toBeLessThan(2e-5);
  }
}

describe.runIf(process.env['VK_ICD_FILENAMES'] !== undefined)('on a software adapter', () => {
  test('frozen experts that are copied when they are used: less memory, the same to the bit', async () => {
    const resident = await train(esft);
    expect(resident.plan).toMatchObject({ streamedExpertLayers: 0, momentsOnHost: false, streamedLayers: 0 });
    const budgetMB = (resident.plan?.totalMB ?? NaN) - 0.2;
    const streamed = await train(esft, { budgetMB });
    expect(streamed.plan).toMatchObject({ momentsOnHost: false, streamedLayers: 0 });
    expect(streamed.plan?.streamedExpertLayers).toBeGreaterThan(1);
    expect(streamed.plan?.totalMB).toBeLessThanOrEqual(budgetMB);
    expect(streamed.peakBytes).toBeLessThan(resident.peakBytes - 0.2e6);
    for (const each of [resident, streamed]) expectWithin(each);
    expect(streamed.losses).toEqual(resident.losses);
    expect(streamed.norms).toEqual(resident.norms);
    expect(streamed.weights).toEqual(resident.weights);

    const fromDisk = await train(esft, { diskLayers: 3 });
    expect(fromDisk.losses).toEqual(resident.losses);
    expect(fromDisk.weights).toEqual(resident.weights);
  }, 300_000);

  test('moments, then weights in host memory: within the budget, and as close as two processors are', async () => {
    const full = { name: 'full', options: {} };
    const onCpu = await train(full, { provider: 'cpu' });
    const resident = await train(full);
    const total = resident.plan?.totalMB ?? NaN;
    const moments = await train(full, { budgetMB: total - 0.01 });
    expect(moments.plan).toMatchObject({ momentsOnHost: true, streamedLayers: 0 });
    const some = await train(full, { budgetMB: (moments.plan?.totalMB ?? NaN) - 0.01 });
    expect(some.plan?.streamedLayers).toBeGreaterThan(0);
    expect(some.peakBytes).toBeLessThan(moments.peakBytes);
    expect(moments.peakBytes).toBeLessThan(0.6 * resident.peakBytes);
    for (const each of [resident, moments, some]) {
      expectWithin(each);
      expectClose(each, onCpu);
    }
  }, 480_000);

  test('token routers learn as on the CPU, with word embeddings in host memory, and stay in stage 2', async () => {
    const method = { name: 'stablemoe', options: { stageSplit: 0.5, embeddingSize: 8 } };
    const got = await train(method);
    expectWithin(got);
    expectClose(got, await train(method, { provider: 'cpu' }));
  }, 120_000);

  test('moments of fewer bits lie in host memory', async () => {
    const method = { name: 'frozen-router', options: {} };
    const narrow = await train(method, { moments: 'bfloat16' });
    expect(narrow.plan?.momentsOnHost).toBe(true);
    expectWithin(narrow);
    expectClose(narrow, await train(method, { moments: 'bfloat16', provider: 'cpu' }));
  }, 300_000);
});
