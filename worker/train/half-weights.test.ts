/** Frozen weights in float16 on a graphics adapter: half the memory, results of the checkpoint's own 16 bits, float32 where that has no room. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { planDevice, halfParameters, halvesUnder } from '#worker/plan/index.ts';
import { createRuntime, probeBeside } from '#worker/runtime/index.ts';
import { hasFloat16Adapter, holdAdapter, useFloat16Adapter } from '#worker/testing/index.ts';
import { loadModel, type LoadRequest } from './load-model.ts';
import { planRun } from './plan-run.ts';
import { inWork, lora, run, sample, workingFolder } from './trainer.fixture.ts';

useFloat16Adapter();
workingFolder();

const bfloat16Model = join(sample, 'sample-moe');
const float32Model = join(import.meta.dirname, '../testing/goldens/families/olmoe/model');
const probe = probeBeside(process.execPath, join(import.meta.dirname, '../main.ts'));
const frozenBody = { name: 'lora', options: { rank: 4 } };
const TOKENS = 24;

const specOf = (modelDir: string, engine: object = {}) =>
  parseRunSpec({
    model: { path: modelDir },
    data: { train: [{ path: inWork('rows.jsonl') }], maxLength: TOKENS },
    method: frozenBody,
    train: { microBatch: 1 },
    engine,
  });

describe.runIf(hasFloat16Adapter)('on a graphics adapter with float16', () => {
  /** Programs are compiled once for all models, of which one is open at a time. */
  const onDevice = createRuntime({ provider: 'webgpu' });
  const runtime = { ...onDevice, release: () => onDevice.device?.release() };
  beforeAll(holdAdapter);
  afterAll(() => onDevice.release());

  /** One step: its loss, what was on the adapter, and how much was planned to be. */
  async function step(modelDir: string, request: Partial<LoadRequest> = {}, budgetMB: number | null = null) {
    const model = await loadModel({
      modelDir,
      method: frozenBody,
      runtime,
      planDevice: (layout, onDisk) => planDevice(layout, specOf(modelDir), budgetMB, onDisk),
      ...request,
    });
    try {
      const { executor, store, devicePlan, plan } = model;
      model.runtime.device?.takePeakBytes();
      const ids = Int32Array.from({ length: TOKENS }, (_, i) => 5 + ((i * 37) % (plan.vocabularySize - 5)));
      const { lossSum } = await executor.train(unpaddedBatch(ids, 1, ids), TOKENS - 1, 1);
      const peakMB = (model.runtime.device?.takePeakBytes() ?? 0) / 1e6;
      const { 'work space': work = 0, ...tensors } = devicePlan?.parts ?? {};
      const plannedMB = Object.values(tensors).reduce((sum, part) => sum + part, 0);
      return { lossSum, halves: halfParameters(store), peakMB, plannedMB, workMB: work, devicePlan, store };
    } finally {
      model.close();
    }
  }

  test('a checkpoint of 16 bits takes half the memory and computes the same', async () => {
    const wide = await step(bfloat16Model, { deviceWeights: 'float32' });
    const half = await step(bfloat16Model);
    expect(wide.halves).toBe(0);
    // All of it but the embedding, which is not there, routers and norms.
    expect(half.halves).toBeGreaterThan(1.9e6);
    for (const name of ['peakMB', 'plannedMB'] as const)
      expect(wide[name] - half[name]).toBeCloseTo((2 * half.halves) / 1e6, 1);
    expect(half.peakMB).toBeLessThan(half.plannedMB);
    expect(half.workMB).toBeGreaterThan(wide.workMB);
    expect(half.lossSum / wide.lossSum).toBeCloseTo(1, 6);
    const onCpu = await step(bfloat16Model, { provider: 'cpu', runtime: createRuntime() });
    expect(half.lossSum / onCpu.lossSum).toBeCloseTo(1, 5);
  }, 120_000);

  test('one of 32 bits is rounded when that is asked for only', async () => {
    expect((await step(float32Model)).halves).toBe(0);
    const half = await step(float32Model, { deviceWeights: 'float16' });
    const wide = await step(float32Model, { deviceWeights: 'float32' });
    expect(half.halves).toBeGreaterThan(1e4);
    expect(half.lossSum).not.toBe(wide.lossSum);
    expect(half.lossSum / wide.lossSum).toBeCloseTo(1, 3);
  }, 120_000);

  test('copied when they are used, from memory or from disk, they are the same to the bit', async () => {
    const resident = await step(bfloat16Model);
    const streamed = await step(bfloat16Model, {}, (resident.devicePlan?.totalMB ?? NaN) - 0.5);
    expect(streamed.devicePlan?.streamedExpertLayers).toBeGreaterThan(0);
    expect(streamed.peakMB).toBeLessThan(resident.peakMB - 0.4);
    const planMemory: LoadRequest['planMemory'] = () => ({
      totalMB: 0,
      parts: {},
      recomputedLayers: 0,
      streamedLayers: 2,
    });
    const fromDisk = await step(bfloat16Model, { planMemory });
    expect(fromDisk.halves).toBe(resident.halves);
    expect([streamed.lossSum, fromDisk.lossSum]).toEqual([resident.lossSum, resident.lossSum]);
  }, 120_000);

  test('a tensor with a value that float16 has no room for stays float32', async () => {
    const folder = inWork('large');
    cpSync(bfloat16Model, folder, { recursive: true });
    const file = join(folder, 'model.safetensors');
    const bytes = readFileSync(file);
    const header = Number(bytes.readBigUInt64LE(0));
    const tensors = JSON.parse(bytes.toString('utf8', 8, 8 + header)) as Record<
      string,
      { data_offsets: [number, number] }
    >;
    const name = 'model.layers.1.mlp.experts.3.down_proj.weight';
    // 65,536 in bfloat16.
    bytes.writeUInt16LE(0x4780, 8 + header + (tensors[name]?.data_offsets[0] ?? NaN));
    writeFileSync(file, bytes);
    const { store, lossSum } = await step(folder);
    const dtypeOf = (expert: number) =>
      store.dtype(
        store.parameters.find(
          (each) => each.role === 'expertDown' && each.layer === 1 && each.expert === expert,
        )?.id ?? '',
      );
    expect([dtypeOf(2), dtypeOf(3)]).toEqual(['float16', 'float32']);
    const wide = await step(folder, { deviceWeights: 'float32' });
    expect(lossSum / wide.lossSum).toBeCloseTo(1, 5);
  }, 120_000);

  test('a run says so, goes over to the CPU and comes back', async () => {
    const engine = { provider: 'webgpu' } as const;
    const stop = (after: number) =>
      ({ command: (asked: number) => (asked < after ? 'continue' : 'stop') }) as const;
    const first = await run('moved', { method: lora, engine, probe, ...stop(4) });
    expect(first.facts[0]?.halfParameters).toBeGreaterThan(1.9e6);
    expect(first.events).toContain(
      'log: Frozen weights lie on the graphics adapter in float16, half the size of float32.',
    );
    const second = await run('moved', {
      method: lora,
      resume: true,
      engine: { provider: 'cpu' },
      ...stop(4),
    });
    expect(second.facts[0]?.halfParameters).toBeUndefined();
    const third = await run('moved', { method: lora, resume: true, engine, probe });
    const whole = await run('whole', { method: lora });
    const moved = [first, second, third].flatMap(({ steps }) => steps);
    expect(moved.map(({ step: at }) => at)).toEqual([1, 2, 3, 4, 5, 6]);
    moved.forEach(({ loss, gradNorm }, at) => {
      expect(loss / (whole.steps[at]?.loss ?? NaN)).toBeCloseTo(1, 3);
      expect(gradNorm / (whole.steps[at]?.gradNorm ?? NaN)).toBeCloseTo(1, 2);
    });
  }, 240_000);

  test('a plan counts what the adapter will hold', async () => {
    const planned = async (deviceWeights: 'auto' | 'float32') => {
      const { deviceMB } = await planRun(specOf(bfloat16Model, { provider: 'webgpu', deviceWeights }), probe);
      return deviceMB?.parts['frozen weights'] ?? NaN;
    };
    const [half, wide] = [await planned('auto'), await planned('float32')];
    expect(half / wide).toBeCloseTo(0.5, 1);
  }, 60_000);
});

test('where the adapter has no float16, asking for it is an error and auto is float32', () => {
  const isTrained = () => false;
  const plan = { tiedHead: false };
  const embedding = { id: 'embedding', role: 'embedding', layer: null, expert: null, shape: [4, 4] } as const;
  const matrix = { id: 'head', role: 'head', layer: null, expert: null, shape: [4, 4] } as const;
  expect(halvesUnder('auto', plan, () => true, isTrained)(matrix, 'bfloat16')).toBe(true);
  expect(halvesUnder('auto', plan, () => true, isTrained)(matrix, 'float32')).toBe(false);
  expect(halvesUnder('auto', plan, () => true, isTrained)(embedding, 'bfloat16')).toBe(false);
  expect(halvesUnder('auto', { tiedHead: true }, () => true, isTrained)(embedding, 'bfloat16')).toBe(true);
  expect(halvesUnder('auto', plan, () => false, isTrained)(matrix, 'bfloat16')).toBe(false);
  expect(() => halvesUnder('float16', plan, () => false, isTrained)).toThrow(
    expect.objectContaining({ code: 'train/no-float16' }),
  );
});
