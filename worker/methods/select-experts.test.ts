import { expect, test } from 'vitest';
import { selectExperts } from './select-experts.ts';

// Four experts, two choices a token: (0, 1; .6, .2), (0, 2; .5, .3), (1, 0; .55, .25), (3, 0; .7, .1).
const token = [0.5, 0.25, 0.125, 0.125];
const gate = [0.3625, 0.1875, 0.075, 0.175];

test('experts by falling score; the one that reaches the share is kept', () => {
  expect(selectExperts(token, 0.5)).toEqual([0]);
  expect(selectExperts(token, 0.6)).toEqual([0, 1]);
  expect(selectExperts(gate, 0.5)).toEqual([0, 1]);
  expect(selectExperts(gate, 0.6)).toEqual([0, 1, 3]);
});

test('of equal scores the lower index comes first', () => {
  expect(selectExperts(token, 0.8)).toEqual([0, 1, 2]);
  expect(selectExperts([0.25, 0.25, 0.25, 0.25], 0.5)).toEqual([0, 1]);
});

test('a share beyond the sum takes every expert that was used at all', () => {
  expect(selectExperts([0.5, 0, 0.2], 1)).toEqual([0, 2]);
});
