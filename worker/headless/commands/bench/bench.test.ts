import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeDenseModel } from '#worker/transform/dense-model.fixture.ts';
import { condenser, makeSite, type Site } from '../cli.fixture.ts';

let site: Site;
beforeAll(() => {
  site = makeSite();
});
afterAll(() => site.remove());

test('bench measures generation for one prompt and for eight', async () => {
  const run = await condenser('bench', '--generate', '--model', site.model, '--steps', '1', '--json');
  const [document] = run.json();
  const generation = document?.['generation'] as { rows: number; tokensPerSecond: number }[];
  expect(generation.map(({ rows }) => rows)).toEqual([1, 8]);
  for (const { tokensPerSecond } of generation) expect(tokensPerSecond).toBeGreaterThan(0);
});

test('bench measures a step, and the same tokens give the same losses', async () => {
  const bench = () =>
    condenser('bench', '--model', site.model, '--batch', '2', '--seq', '8', '--steps', '2', '--json');
  const [first] = (await bench()).json();
  const [second] = (await bench()).json();
  expect(first).toMatchObject({ method: 'full', batch: 2, sequence: 8, trainableParameters: 224_448 });
  expect(first?.['losses']).toHaveLength(4);
  expect(second?.['losses']).toEqual(first?.['losses']);
  const phases = first?.['phasesMs'] as Record<string, number>;
  const stages = first?.['stagesMs'] as Record<string, number>;
  for (const phase of ['forward', 'backward', 'optimizer']) expect(phases[phase]).toBeGreaterThan(0);
  for (const stage of ['attention', 'router', 'gate', 'expert', 'head-loss.grad', 'attention.grad']) {
    expect(stages[stage]).toBeGreaterThan(0);
  }
  expect(first?.['usefulGflops']).toBeGreaterThan(0);
  expect(first?.['peakRssMB']).toBeGreaterThan(50);
});

test('bench --profile tells what the kernels of a step took', async () => {
  const request = ['--model', site.model, '--batch', '2', '--seq', '8', '--steps', '2'];
  const run = await condenser('bench', '--profile', ...request, '--json');
  const [document] = run.json();
  // On the CPU nothing is left to it.
  expect(document).not.toHaveProperty('placement');
  const kernels = document?.['kernels'] as { opType: string; runs: number; megabytes: number }[];
  const gemm = kernels.find(({ opType }) => opType === 'Gemm');
  expect(gemm?.runs).toBeGreaterThan(10);
  // The model is read for its products forward and backward; the square product beside the steps (29 MB a run) is left out.
  expect(gemm?.megabytes).toBeGreaterThan((224_448 * 4) / 1e6);
  expect(gemm?.megabytes).toBeLessThan(12);
});

test('bench measures every method beside full fine-tuning, or says why not', async () => {
  const model = path.join(site.dir, 'dense');
  writeDenseModel(model, 'llama');
  const small = ['--model', model, '--batch', '1', '--seq', '8', '--steps', '2'];
  const [document] = (await condenser('bench', '--method', 'all', ...small, '--json')).json();
  const costs = document?.['costs'] as Record<string, unknown>[];
  expect(costs.filter(({ median }) => Number(median) > 0).map(({ method }) => method)).toEqual([
    'lora',
    'dora',
    'smt',
  ]);
  const refused = costs.filter(({ refused: why }) => String(why).includes('is for models with experts'));
  expect(refused).toHaveLength(costs.length - 3);
  const { stderr } = await condenser('bench', '--method', 'all', '--moments', 'float8');
  expect(stderr).toContain('name one method');
});
