import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunFacts } from '#core/contract/run.ts';
import type { Evaluation } from '#core/contract/metrics.ts';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import { train } from './trainer.ts';

const sample = path.join(import.meta.dirname, '../../resources/sample');
let work = '';
beforeAll(() => {
  work = mkdtempSync(path.join(tmpdir(), 'condenser-forgetting-'));
});
afterAll(() => rmSync(work, { recursive: true }));

/** Trains four steps on some word problems; held-out rows and general data are the given ones. */
async function evaluated(name: string, general: string | null) {
  const rows = readFileSync(path.join(sample, 'data/word-problems.jsonl'), 'utf8').split('\n');
  const file = (title: string, from: number, to: number) => {
    const place = path.join(work, title);
    writeFileSync(place, `${rows.slice(from, to).join('\n')}\n`);
    return { path: place };
  };
  const held = file('held.jsonl', 40, 50);
  const runDir = path.join(work, name);
  mkdirSync(runDir);
  const evaluations: Evaluation[] = [];
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
      method: { name: 'full' },
      train: { steps: 4, microBatch: 2, gradientAccumulation: 1, learningRate: 1e-3 },
      evaluate: { everySteps: null },
      engine: { threads: 1 },
    }),
    runDir,
    cacheDir: path.join(work, 'cache'),
    resume: false,
    control: { next: () => 'continue' },
    observer: {
      prepared: (prepared) => (facts = prepared),
      step: () => undefined,
      evaluation: (evaluation) => evaluations.push(evaluation),
      placed: () => undefined,
      checkpoint: () => undefined,
      event: () => undefined,
      progress: () => undefined,
    },
  });
  return { evaluations, facts };
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
