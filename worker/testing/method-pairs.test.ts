/**
 * Every method on every family: refused with a reason, or trained for two steps on a tiny model and held to what it
 * promises. docs/matrix.md is written from the same pairs (`vitest -u`).
 */
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { afterAll, describe, expect, test } from 'vitest';
import type { UserError } from '#core/contract/errors.ts';
import { familyNames } from '#worker/families/index.ts';
import { routerShapes, shapeOf } from '#worker/model/index.ts';
import { hasGoldenFamilies } from './golden-families.ts';
import {
  methodNames,
  refusalOf,
  sharedRuntime,
  start,
  trainSteps,
  weightsOf,
} from './method-pairs.fixture.ts';
import {
  biasProblems,
  choiceProblems,
  expertGradientProblems,
  gateWeightProblems,
  trainedProblems,
} from './method-promises.fixture.ts';

interface Pair {
  readonly family: string;
  readonly name: string;
  /** Null: the method trains the family. */
  readonly refusal: UserError | null;
}

const pairs: Pair[] = [];
for (const family of hasGoldenFamilies ? familyNames : []) {
  for (const name of methodNames) pairs.push({ family, name, refusal: await refusalOf(family, name) });
}

describe.each([...Map.groupBy(pairs, ({ family }) => family)])('%s', (family, ofFamily) => {
  const runtime = sharedRuntime();
  afterAll(() => runtime.end());

  test.each(ofFamily.filter(({ refusal }) => refusal === null))('$name', async ({ name }) => {
    const model = await start(family, name, { runtime: runtime.shared });
    try {
      const before = weightsOf(model);
      const steps = await trainSteps(model);
      const problems = [
        ...trainedProblems(name, model, before, steps),
        ...steps.flatMap((step) => [...expertGradientProblems(model, step)]),
        ...steps.flatMap(({ usage }, step) =>
          usage.flatMap(({ choice }, layer) => [
            ...choiceProblems(name, shapeOf(routerShapes(model.plan), layer), choice, step),
          ]),
        ),
        ...biasProblems(name, steps),
        ...(await gateWeightProblems(name, model)),
      ];
      expect(problems).toEqual([]);
      expect(steps.map(({ loss }) => Number.isFinite(loss))).toEqual([true, true]);
      expect(steps[0]?.squares.size).toBeGreaterThan(0);
    } finally {
      model.close();
    }
  });
});

const refusals = pairs.flatMap(({ refusal, ...pair }) => (refusal === null ? [] : [{ ...pair, refusal }]));

test.each(refusals)('$name refuses $family in words', ({ name, refusal }) => {
  expect(refusal.message).toContain(name);
  expect(refusal.hint).toMatch(/\.$/);
});

/** The page docs/matrix.md. Pairs that are refused for the same reason share the words of the first of them. */
function matrixPage(): string {
  const reasonOf = (pair: (typeof refusals)[number]) =>
    pair.refusal.message.replaceAll(pair.name, 'METHOD').replaceAll(pair.family, 'FAMILY');
  const reasons = Map.groupBy(refusals, reasonOf);
  const list = (names: readonly string[]) => [...new Set(names)].map((name) => `\`${name}\``).join(', ');
  const row = (family: string) =>
    pairs
      .filter((pair) => pair.family === family)
      .map(({ refusal, ...pair }) =>
        refusal === null ? 'yes' : `no (${[...reasons.keys()].indexOf(reasonOf({ ...pair, refusal })) + 1})`,
      );
  return [
    '# Methods × families',
    'Which [method](methods.md) trains which [family](families.md). “Yes” is tried: the tiny model of the family trains for two steps and is held to what the method promises. What is refused is refused before anything is loaded. This page is made by the test that tries all pairs (`worker/testing/method-pairs.test.ts`).',
    [
      `| Family | ${methodNames.map((name) => `\`${name}\``).join(' | ')} |`,
      `| --- |${' --- |'.repeat(methodNames.length)}`,
      ...familyNames.map((family) => `| \`${family}\` | ${row(family).join(' | ')} |`),
    ].join('\n'),
    '## Why not',
    [...reasons.values()]
      .map((alike, at) => {
        const { message, hint = '' } = alike[0]?.refusal ?? { message: '' };
        const [names, families] = [alike.map(({ name }) => name), alike.map(({ family }) => family)];
        return `${at + 1}. ${list(names)} with ${list(families)}: ${message}. ${hint}`;
      })
      .join('\n'),
  ].join('\n\n');
}

test.runIf(hasGoldenFamilies)('docs/matrix.md says what is refused', async () => {
  const file = join(import.meta.dirname, '../../docs/matrix.md');
  const page = format(matrixPage(), { ...(await resolveConfig(file)), parser: 'markdown' });
  await expect(await page).toMatchFileSnapshot(file);
});
