import { cleanup, render, screen, within } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';
import type { Comparison } from '#core/contract/run.ts';
import { GroupsCard } from './groups-card.tsx';

afterEach(cleanup);

type Group = Comparison['groups'][number];

const group = (method: string, learningRate: number, mean: number, more: Partial<Group> = {}): Group => ({
  label: `fair · ${method}`,
  method,
  learningRate,
  runs: [`run_${method}-${learningRate}`],
  seeds: [1],
  measures: { validationLoss: { mean, runs: 1 } },
  ...more,
});
const show = (groups: readonly Group[], rateChoice: readonly string[] = []) =>
  render(<GroupsCard groups={[...groups]} rateChoice={[...rateChoice]} notComparable={[]} />);
const cellsOf = (row: HTMLElement) =>
  within(row)
    .getAllByRole('cell')
    .map((cell) => cell.textContent?.trim());

test('rates of each method in their order, the best one marked, also over one seed', () => {
  show(
    [
      group('full', 1e-3, 1.5, { bestRate: false, difference: { mean: 0.5, runs: 1 } }),
      group('full', 1e-4, 1, { bestRate: true }),
      group('lora', 1e-4, 1.25, { difference: { mean: 0.25, runs: 1 } }),
    ],
    ['“fair · full” is compared at learning rate 1e-4.'],
  );
  expect(screen.getByRole('listitem').textContent).toBe('“fair · full” is compared at learning rate 1e-4.');
  expect(screen.getByRole('columnheader', { name: 'Loss against “fair · full” at 1e-4' })).toBeTruthy();
  const [, ...rows] = screen.getAllByRole('row');
  expect(rows.map((row) => cellsOf(row).slice(0, 4))).toEqual([
    ['1e-3', '1', '1.500', '+0.500'],
    ['best 1e-4', '1', '1.000', '–'],
    ['1e-4', '1', '1.250', '+0.250'],
  ]);
});

test('settings that ran once at one rate say nothing here', () => {
  const { container } = show([group('full', 1e-4, 1), group('lora', 1e-4, 2)]);
  expect(container.textContent).toBe('');
});
