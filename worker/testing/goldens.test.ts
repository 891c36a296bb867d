import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { CaseResult } from './golden-case.ts';
import { runCase } from './run-case.ts';

const committed = path.join(import.meta.dirname, 'goldens');
const all = path.join(import.meta.dirname, '../../../shared/golden');
const tokenizerPackages = path.join(
  import.meta.dirname,
  '../../node_modules/.cache/golden-tokenizers/node_modules',
);

/** Case folders two levels below `root`, as `group/case`. */
function casesIn(root: string): string[] {
  return readdirSync(root, { withFileTypes: true })
    .filter((group) => group.isDirectory())
    .flatMap((group) =>
      readdirSync(path.join(root, group.name))
        .filter((name) => existsSync(path.join(root, group.name, name, 'case.json')))
        .map((name) => `${group.name}/${name}`),
    );
}

function expectPassed(result: CaseResult): void {
  expect(result.unsupported).toBeUndefined();
  expect(result.checks.filter(({ ok }) => !ok)).toEqual([]);
  expect(result.checks.length).toBeGreaterThan(0);
  expect(result.ok).toBe(true);
}

describe('committed cases', () => {
  const cases = casesIn(committed);

  test('are there', () => {
    expect(cases.length).toBeGreaterThan(10);
  });

  test.each(cases)('%s', async (name) => {
    expectPassed(await runCase(path.join(committed, name)));
  });
});

describe.runIf(existsSync(all))('all cases', () => {
  const cases = existsSync(all) ? casesIn(all) : [];
  const tokenizers = cases.filter((name) => name.startsWith('tokenizers/'));

  test.each(cases.filter((name) => !tokenizers.includes(name)))('%s', async (name) => {
    expectPassed(await runCase(path.join(all, name)));
  });

  // The packages are large and serve nothing else: scripts/fetch-golden-tokenizers.mjs installs them.
  test.runIf(existsSync(tokenizerPackages)).each(tokenizers)('%s', async (name) => {
    expectPassed(await runCase(path.join(all, name)));
  });
});

test('a wrong expectation fails its check', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'condenser-golden-'));
  try {
    const document = JSON.parse(
      readFileSync(path.join(committed, 'methods/condenser-select/case.json'), 'utf8'),
    ) as { expected: { selections: { condensers: number[] }[] } };
    document.expected.selections[0]?.condensers.reverse();
    writeFileSync(path.join(dir, 'case.json'), JSON.stringify(document));
    const { ok, checks } = await runCase(dir);
    expect(ok).toBe(false);
    expect(checks.filter((check) => !check.ok)).toHaveLength(1);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
