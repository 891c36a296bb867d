import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { MicroBatch } from '#worker/engine/index.ts';
import { decoderPlanOf, loadModel, type LoadRequest } from './load-model.ts';
import { anySubmatrices } from './warm-up.ts';

const modelDir = join(import.meta.dirname, '../../resources/sample/sample-moe');
const opened: { close(): void }[] = [];
afterAll(() => opened.forEach((model) => model.close()));

/** Two rows, the second with padding at its end. */
function batch(sequence: number): MicroBatch {
  const places = Array.from({ length: 2 * sequence }, (_, i) => i);
  const real = (i: number) => i < sequence || i % sequence < sequence / 2;
  const ids = places.map((i) => (real(i) ? 5 + ((i * 37) % 200) : 0));
  return {
    batch: 2,
    sequence,
    inputIds: Int32Array.from(ids),
    labels: Int32Array.from(ids, (id, i) => (real(i) && i % 3 > 0 ? id : -100)),
    positions: Int32Array.from(places, (i) => i % sequence),
    segments: Int32Array.from(places, (i) => Number(real(i))),
  };
}

/** Loss of a few tokens; gradients, loss and usage of two micro-batches, and the memory they took. */
async function gradients(method: LoadRequest['method'], recomputedLayers: number, streamedLayers = 0) {
  const planMemory = () => ({ totalMB: 0, parts: {}, recomputedLayers, streamedLayers });
  const submatrices = anySubmatrices(method, await decoderPlanOf(modelDir));
  const model = await loadModel({ modelDir, method, submatrices, threads: 1, planMemory });
  opened.push(model);
  // Few tokens take other programs where experts are in memory.
  const results: unknown[] = [await model.executor.evaluate(batch(8))];
  for (const sequence of [96, 64]) results.push(await model.executor.train(batch(sequence), 100, 2));
  const { store } = model;
  store.completeGradients();
  const trained = store.parameters.filter(({ id }) => store.isTrained(id));
  return {
    results,
    gradients: new Map(trained.map(({ id }) => [id, store.gradient(id).data.slice()])),
    arenaBytes: model.arena.bytesCommitted,
    streamed: store.parameters.filter(({ id, expert }) => expert !== null && store.isStreamed(id)).length,
  };
}

describe.each<LoadRequest['method']>([
  { name: 'full', options: { auxLossCoefficient: 0.01, zLossCoefficient: 0.001, baseKlCoefficient: 0.1 } },
  { name: 'expert-condenser', options: { phase: 'both' } },
  { name: 'frozen-router', options: {} },
  { name: 'densemixer', options: {} },
  { name: 'default-moe', options: {} },
  { name: 'dora', options: { rank: 4 } },
  { name: 'dora', options: { rank: 4, dropout: 0.25 } },
  { name: 'smt', options: { blockSize: 16, mlpShare: 0.1 } },
  { name: 'evomoe', options: {} },
  { name: 'local-expert', options: {} },
  { name: 'base-assignment', options: {} },
  { name: 'hash-routing', options: {} },
  { name: 'stablemoe', options: {} },
])('$name', (method) => {
  test('layers that are computed twice give the same gradients to the bit, in less memory', async () => {
    const kept = await gradients(method, 0);
    const some = await gradients(method, 2);
    const all = await gradients(method, 100);
    expect(kept.gradients.size).toBeGreaterThan(0);
    for (const other of [some, all]) {
      expect(other.results).toEqual(kept.results);
      for (const [id, gradient] of kept.gradients) expect(other.gradients.get(id), id).toEqual(gradient);
    }
    expect(some.arenaBytes).toBeLessThan(kept.arenaBytes);
    expect(all.arenaBytes).toBeLessThan(some.arenaBytes);
  });
});

test.each<LoadRequest['method']>([
  { name: 'lora', options: { rank: 4 } },
  { name: 'dora', options: { rank: 4, targets: ['experts'] } },
  { name: 'smt', options: { blockSize: 16, mlpShare: 0.1 } },
])('adapters beside experts that are read when they are used: $name', async (method) => {
  const held = await gradients(method, 0);
  const streamed = await gradients(method, 2, 4);
  expect(streamed.streamed).toBe(4 * 16 * 3);
  expect(streamed.results).toEqual(held.results);
  expect(held.gradients.size).toBeGreaterThan(0);
  for (const [id, gradient] of held.gradients) expect(streamed.gradients.get(id), id).toEqual(gradient);
});

test('frozen experts that are read when they are used give the same gradients to the bit', async () => {
  const work = mkdtempSync(join(tmpdir(), 'condenser-streamed-'));
  try {
    const expertConfig = join(work, 'expert_cfg.json');
    const experts = { 0: [1], 1: [0, 3], 2: [], 3: [2] };
    writeFileSync(
      expertConfig,
      JSON.stringify({ experts, shared_experts: false, non_expert_modules: false }),
    );
    const method = { name: 'esft', options: { expertConfig } };
    const held = await gradients(method, 0);
    const streamed = await gradients(method, 0, 3);
    const both = await gradients(method, 2, 4);
    expect(held.streamed).toBe(0);
    expect(streamed.streamed).toBeGreaterThan(0);
    expect(both.streamed).toBeGreaterThan(streamed.streamed);
    expect(held.gradients.size).toBe(4 * 3);
    for (const other of [streamed, both]) {
      expect(other.results).toEqual(held.results);
      for (const [id, gradient] of held.gradients) expect(other.gradients.get(id), id).toEqual(gradient);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
});
