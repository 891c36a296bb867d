import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunFacts } from '#core/contract/run.ts';
import type { Evaluation, StepMetrics } from '#core/contract/metrics.ts';
import { parseRunSpec, type RunSpecInput } from '#core/contract/run-spec.ts';
import { openTrainedWeights } from './trainer-state.ts';
import { train } from './train.ts';
import type { TrainingCommand } from './training-run.ts';

const sample = path.join(import.meta.dirname, '../../resources/sample');
let work = '';
beforeAll(() => {
  work = mkdtempSync(path.join(tmpdir(), 'condenser-forgetting-'));
});
afterAll(() => rmSync(work, { recursive: true }));

interface RunOptions {
  readonly method?: RunSpecInput['method'];
  readonly resume?: boolean;
  /** Asked before each step, which count from 0. */
  readonly command?: (asked: number) => TrainingCommand;
}

/** Trains four steps on some word problems; held-out rows and general data are the given ones. */
async function evaluated(name: string, general: string | null, options: RunOptions = {}) {
  const rows = readFileSync(path.join(sample, 'data/word-problems.jsonl'), 'utf8').split('\n');
  const file = (title: string, from: number, to: number) => {
    const place = path.join(work, title);
    writeFileSync(place, `${rows.slice(from, to).join('\n')}\n`);
    return { path: place };
  };
  const held = file('held.jsonl', 40, 50);
  const runDir = path.join(work, name);
  mkdirSync(runDir, { recursive: true });
  const evaluations: Evaluation[] = [];
  const steps: StepMetrics[] = [];
  const events: string[] = [];
  let asked = 0;
  let facts: RunFacts | undefined;
  await train({
    spec: parseRunSpec({
      model: { path: path.join(sample, 'sample-moe') },
      data: {
        train: [file('train.jsonl', 0, 20)],
        validation: { files: [held] },
        ...(general !== null && { general: [{ path: path.join(work, general) }] }),
        maxLength: 128,
      },
      method: options.method ?? { name: 'full' },
      train: { steps: 4, microBatch: 2, gradientAccumulation: 1, learningRate: 1e-3 },
      evaluate: { everySteps: null },
      engine: { threads: 1 },
    }),
    runDir,
    cacheDir: path.join(work, 'cache'),
    resume: options.resume ?? false,
    control: { next: () => options.command?.(asked++) ?? 'continue' },
    observer: {
      prepared: (prepared) => (facts = prepared),
      step: (metrics) => steps.push(metrics),
      evaluation: (evaluation) => evaluations.push(evaluation),
      placed: () => undefined,
      checkpoint: () => undefined,
      event: (_kind, _step, message) => events.push(message),
      progress: () => undefined,
    },
  });
  return { evaluations, facts, steps, events };
}

test('the loss on general data is measured before the first step and after the last, and changes nothing', async () => {
  const without = await evaluated('without', null);
  // The general data are the held-out rows once more, so that both losses must be equal.
  const same = await evaluated('same', 'held.jsonl');
  expect(same.evaluations.map(({ step }) => step)).toEqual([0, 4]);
  for (const { loss, trainedTokens, general } of same.evaluations)
    expect(general).toEqual({ loss, trainedTokens });
  expect(same.evaluations.map(({ step, loss }) => ({ step, loss }))).toEqual(
    without.evaluations.map(({ step, loss }) => ({ step, loss })),
  );
  expect(without.evaluations.some(({ general }) => general !== undefined)).toBe(false);
  // It is no part of what the training data are called.
  expect(same.facts).toMatchObject({ generalRows: 10, hashes: { data: without.facts?.hashes['data'] } });
  expect(without.facts?.hashes).not.toHaveProperty('general');
});

/** The trained weights of a run. */
function weightsOf(name: string): Map<string, Float32Array> {
  const weights = openTrainedWeights(path.join(work, name));
  const all = new Map(weights.ids.map((id) => [id, weights.read(id)]));
  weights.close();
  return all;
}

test('routing is held to that of the untouched model on general data, and resumes with the same bits', async () => {
  const baseKl = { baseKlCoefficient: 0.5, baseKlOn: 'general', baseKlTokens: 300 };
  const method = { name: 'full', options: baseKl };
  const whole = await evaluated('held-whole', 'held.jsonl', { method });
  const said = whole.events.filter((event) =>
    event.startsWith('Routing is held to that of the untouched model'),
  );
  expect(said).toHaveLength(1);
  // Rows of the general data are neither trained on nor part of the loss.
  const free = await evaluated('not-held', 'held.jsonl');
  const counted = ({ steps: [first] }: typeof free) => [first?.loss, first?.tokens, first?.trainedTokens];
  expect(counted(whole)).toEqual(counted(free));
  expect(whole.steps[0]?.auxLoss).toBeCloseTo(0, 9);
  expect(whole.steps[3]?.auxLoss).toBeGreaterThan(0);
  expect(free.steps[3]?.auxLoss).toBeUndefined();

  const stopped = (asked: number) => (asked === 2 ? 'stop' : 'continue');
  await evaluated('held-parts', 'held.jsonl', { method, command: stopped });
  const resumed = await evaluated('held-parts', 'held.jsonl', { method, resume: true });
  expect(resumed.steps).toHaveLength(2);
  expect(weightsOf('held-parts')).toEqual(weightsOf('held-whole'));
  expect(weightsOf('held-parts')).not.toEqual(weightsOf('not-held'));

  // Other general data make it another run; without any there is nothing to hold to.
  await expect(evaluated('held-parts', 'train.jsonl', { method, resume: true })).rejects.toMatchObject({
    code: 'resume/different-run',
  });
  await expect(evaluated('nowhere', null, { method })).rejects.toMatchObject({
    code: 'train/no-general-data',
  });
});
