import { expect, test } from 'vitest';
import { UsageDifference } from '#core/contract/usage-difference.ts';
import { runFixture } from '../testing/run-fixture.ts';
import { usageDifference } from './usage-difference.ts';

const even = runFixture({ id: 'run_a', name: 'even', load: () => 10 });
/** Layer 0: the first of four experts takes everything from the last; layer 1 as before. */
const uneven = runFixture({
  id: 'run_b',
  name: 'uneven',
  load: (_r, _n, l, e) => (l === 0 && e === 0 ? 20 : l === 0 && e === 3 ? 0 : 10),
  condensers: [[1], []],
});

test('the difference is other minus base, in multiples of the uniform load', () => {
  const difference = UsageDifference.parse(usageDifference(even, uneven));
  expect(difference.layers).toEqual([1, 2]);
  expect(difference.difference_LE).toEqual([
    [1, 0, 0, -1],
    [0, 0, 0, 0],
  ]);
  // A quarter of the selections of layer 0 went from expert 3 to expert 0.
  expect(difference.moved_L).toEqual([0.25, 0]);
  expect(difference.limit).toBe(1);
  expect([difference.base.condensers_L, difference.other.condensers_L]).toEqual([
    [[], []],
    [[1], []],
  ]);
  expect([difference.other.fromStep, difference.other.toStep]).toEqual([95, 100]);
  expect(difference.words).toEqual([
    'Layer 1 differs most: 25 % of its selections go to other experts; the mean over layers is 12 %.',
    'Most is gained by expert 0 of layer 1 (+1 × uniform), most lost by expert 3 of layer 1 (−1 × uniform).',
  ]);
});

test('turning the pair around turns the sign', () => {
  const there = UsageDifference.parse(usageDifference(even, uneven));
  const back = UsageDifference.parse(usageDifference(uneven, even));
  expect(back.difference_LE).toEqual(there.difference_LE.map((row) => row.map((value) => 0 - value)));
  expect(back.moved_L).toEqual(there.moved_L);
});

test('a run beside itself differs nowhere', () => {
  const same = UsageDifference.parse(usageDifference(uneven, uneven));
  expect(same.moved_L).toEqual([0, 0]);
  expect(same.words).toEqual(['Both runs use every expert alike.']);
});

test('the scale ends on a ladder and covers every cell', () => {
  const one = runFixture({ experts: 16, layers: 1, load: (_r, _n, _l, e) => (e === 0 ? 100 : 0) });
  const other = runFixture({ experts: 16, layers: 1, load: (_r, _n, _l, e) => (e === 1 ? 100 : 0) });
  expect(UsageDifference.parse(usageDifference(one, other)).limit).toBe(16);
});

test('what cannot be compared is said in a sentence', () => {
  expect(usageDifference(even, runFixture({ name: 'silent' }))).toEqual({
    absent: '“silent” has no record of its expert usage.',
  });
  expect(usageDifference(even, runFixture({ name: 'wide', experts: 8, load: () => 1 }))).toEqual({
    absent: 'The experts do not correspond: “even” has 2 layers of 4 experts, “wide” 2 layers of 8 experts.',
  });
});
