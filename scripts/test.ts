/**
 * The whole test command: types, unit tests, build, end-to-end tests.
 *
 * The last line printed is the sum, `N passed, N failed[, N skipped]`; the exit code is 1 unless everything passed.
 * A step that fails without a failed test (types, build, a crash, no tests found) counts as one failure.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { addCounts, type Counts, playwrightCounts, vitestCounts } from './test-counts.ts';

const root = path.resolve(import.meta.dirname, '..');
const reports = path.join(root, 'test-results');
let total: Counts = { passed: 0, failed: 0, skipped: 0 };

/** Runs one step in the repository root; with `count`, adds the tests its JSON report names. */
function step(
  command: string,
  count?: { readonly report: string; readonly read: (json: unknown) => Counts },
): boolean {
  console.log(`\n> ${command}`);
  if (count) rmSync(path.join(reports, count.report), { force: true });
  const { status } = spawnSync(command, { cwd: root, shell: true, stdio: ['ignore', 'inherit', 'inherit'] });
  const report = count && path.join(reports, count.report);
  const counts =
    count && report && existsSync(report)
      ? count.read(JSON.parse(readFileSync(report, 'utf8')))
      : { passed: 0, failed: 0, skipped: 0 };
  const ranNothing = count !== undefined && counts.passed + counts.failed === 0;
  const unexplained = (status !== 0 || ranNothing) && counts.failed === 0;
  total = addCounts(total, unexplained ? { ...counts, failed: 1 } : counts);
  if (unexplained) console.error(`failed: ${command}${ranNothing ? ' (no test ran)' : ` (exit ${status})`}`);
  return status === 0 && !unexplained;
}

mkdirSync(reports, { recursive: true });
// The tokenizer goldens compare against published packages, which only a checkout beside the goldens needs.
const fetchTokenizers = 'scripts/fetch-golden-tokenizers.mjs';
if (existsSync(path.join(root, '../shared/golden')) && existsSync(path.join(root, fetchTokenizers))) {
  step(`node ${fetchTokenizers}`);
}
step('npm run --silent check:types');
step('vitest run --reporter=default --reporter=json --outputFile.json=test-results/vitest.json', {
  report: 'vitest.json',
  read: vitestCounts,
});
if (step('npm run --silent build')) {
  step('playwright test', { report: 'playwright.json', read: playwrightCounts });
}

const { passed, failed, skipped } = total;
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
