import { expect, test } from 'vitest';
import { addCounts, playwrightCounts, vitestCounts } from './test-counts.ts';

test('vitest: a file that does not load is a failure of its own', () => {
  const report = {
    numPassedTests: 3,
    numFailedTests: 1,
    numPendingTests: 2,
    numTodoTests: 1,
    testResults: [
      { status: 'failed', assertionResults: [{}, {}] },
      { status: 'failed', assertionResults: [] },
      { status: 'passed', assertionResults: [{}] },
    ],
  };
  expect(vitestCounts(report)).toEqual({ passed: 3, failed: 2, skipped: 3 });
});

test('playwright: errors outside tests are failures', () => {
  const report = { stats: { expected: 4, unexpected: 1, flaky: 1, skipped: 2 }, errors: [{}] };
  expect(playwrightCounts(report)).toEqual({ passed: 5, failed: 2, skipped: 2 });
});

test('a report of another shape is refused', () => {
  expect(() => vitestCounts({ passed: 3 })).toThrow(/numPassedTests/);
});

test('counts add up', () => {
  expect(addCounts({ passed: 1, failed: 2, skipped: 3 }, { passed: 4, failed: 5, skipped: 6 })).toEqual({
    passed: 5,
    failed: 7,
    skipped: 9,
  });
});
