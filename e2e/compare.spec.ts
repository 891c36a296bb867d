/** The comparison of runs that were really trained. */
import { card, openPath } from './pages/navigation.ts';
import { estimates, fillTraining } from './pages/new-run-page.ts';
import { PREVIEW_HAS_NO_SCRIPTS } from './pages/report-page.ts';
import { addSample, trainSmall } from './pages/seed-runs.ts';
import { tableRows, toNumber } from './pages/tables.ts';
import { checkViews } from './pages/views.ts';
import { expect, test } from './shell.ts';

test.describe.configure({ timeout: 300_000 });
test.use({ expectedErrors: [PREVIEW_HAS_NO_SCRIPTS] });

test('expert usage of one run minus another: picture, keys, table, report', async ({
  workbench: { page },
}) => {
  await addSample(page);
  const full = await trainSmall(page, { name: 'Full', method: { name: 'full' } });
  const condensers = await trainSmall(page, {
    name: 'Condensers',
    method: { name: 'expert-condenser', options: { biasSpeed: 0.05 } },
  });
  await openPath(page, `/compare/${full},${condensers}`);
  const usage = card(page, 'Expert usage, run minus run');
  await expect(usage).toContainText(/Layer \d+ differs most: .* of its selections go to other experts/);
  await test.step('every cell by keyboard, in words', async () => {
    const grid = usage.getByRole('grid');
    await grid.focus();
    const cell = grid.getByRole('gridcell');
    await expect(cell).toHaveText(/^Layer 0, expert 0: [+−]?[\d.e-]+ × uniform \([\d.]+ minus [\d.]+\)/);
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('End');
    await expect(cell).toHaveText(/^Layer 1, expert \d+: /);
  });
  await checkViews(page, 'usage difference');
  await test.step('the table has the same numbers, and they add up', async () => {
    await usage.getByRole('button', { name: 'table', exact: true }).click();
    const rows = await tableRows(usage.getByRole('region', { name: 'Experts of layer 0' }));
    const sum = (title: string) => rows.reduce((total, row) => total + toNumber(row[title]), 0);
    expect(sum('difference')).toBeCloseTo(0, 2);
    // Load ÷ uniform adds up to the number of experts.
    expect(sum('load ÷ uniform')).toBeCloseTo(rows.length, 2);
    expect(sum('load ÷ uniform, subtracted')).toBeCloseTo(rows.length, 2);
    await checkViews(page, 'usage table');
  });
  await test.step('a run minus itself is not a comparison', async () => {
    await usage.getByRole('combobox', { name: 'Run subtracted' }).click();
    await page.getByRole('option', { name: 'Condensers' }).click();
    await expect(usage).toContainText('Choose two different runs.');
  });
  await test.step('the report has the same map', async () => {
    await openPath(page, `/report/${full},${condensers}`);
    const preview = page.frameLocator('iframe');
    await expect(preview.getByRole('heading', { name: 'Expert usage, run against run' })).toBeVisible();
    await expect(preview.getByRole('img', { name: 'Condensers minus Full' })).toBeVisible();
  });
});

test('methods × learning rates × seeds from the form: review, queue, result with intervals and the best rates', async ({
  workbench: { page },
}) => {
  await addSample(page);
  await page.getByRole('link', { name: 'New run' }).first().click();
  await expect(page.getByRole('radio', { name: /^sample-moe/ })).toBeChecked();
  await page.getByRole('checkbox', { name: /^word-problems/ }).check();
  const data = card(page, '2 · Data');
  await data.getByRole('textbox', { name: /^Longest example/ }).fill('64');
  const methods = card(page, '3 · Method');
  await methods.getByRole('button', { name: 'compare methods' }).click();
  const blocked = page.locator('.start-blocked');
  await expect(blocked).toHaveText('Start needs methods to compare');
  await methods.getByRole('checkbox', { name: /^Full fine-tuning/ }).check();
  await methods.getByRole('checkbox', { name: /^Frozen router/ }).check();
  const seeds = methods.getByRole('textbox', { name: /^Seeds/ });
  await seeds.fill('1, 1');
  await expect(blocked).toContainText('a seed is given twice');
  await seeds.fill('1, 2');
  const full = methods.getByRole('group', { name: /^Full fine-tuning/ });
  const rates = full.getByRole('textbox', { name: /^Learning rates/ });
  await rates.fill('1e-3, 0');
  await expect(blocked).toHaveText('Learning rates: expected a number above 0');
  await rates.fill('1e-3, 0.001');
  await expect(blocked).toContainText('a learning rate is given twice');
  await rates.fill('1e-6, 1e-3');
  await fillTraining(page, {
    name: 'Fair',
    steps: 6,
    training: { 'Micro-batch': '1', 'Gradient accumulation': '1', 'Learning rate': '1e-3' },
    evaluateEvery: 3,
    checkpointEvery: 6,
  });
  await expect(blocked).toHaveCount(0);
  const plan = await estimates(page);
  expect(plan['Runs']).toBe('6 runs');
  expect(plan['Time in all']).toMatch(/\d/);
  expect(plan['Memory at most']).toMatch(/\d.* [MG]B/);
  const each = await tableRows(page.getByRole('region', { name: 'What each method needs' }));
  expect(each.map((row) => [row['Method'], row['Runs']])).toEqual([
    ['full', '4'],
    ['frozen-router', '2'],
  ]);
  await checkViews(page, 'comparison form');
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  await expect(page).toHaveURL(/#\/compare\/(run_[^,]*,){5}run_/);
  const numbers = page.getByRole('region', { name: 'Result of each setting over its seeds' });
  await expect(async () => {
    const rows = await tableRows(numbers);
    expect(rows.map((row) => row['Seeds'])).toEqual(['2', '2', '2']);
  }).toPass({ timeout: 120_000 });
  const rows = await tableRows(numbers);
  expect(rows.map((row) => row['Setting'])).toEqual(['Fair · full', 'Fair · full', 'Fair · frozen-router']);
  const shown = rows.map((row) => row['Learning rate']);
  const [low = 0, high = 0] = rows.map((row) => Number.parseFloat(row['Validation loss'] ?? ''));
  expect(shown).toEqual(low <= high ? ['best 1e-6', '1e-3', '1e-3'] : ['1e-6', 'best 1e-3', '1e-3']);
  const result = card(page, 'Result over learning rates and seeds');
  await expect(result).toContainText(
    `“Fair · full” is compared at learning rate ${low <= high ? '1e-6' : '1e-3'}`,
  );
  await expect(result).toContainText('on the same validation rows that the methods are compared on');
  for (const row of rows) {
    expect(row['Validation loss']).toMatch(/^[\d.]+ ± [\d.e-]+$/);
    expect(row['Checkpoint']).toMatch(/[MG]B/);
    expect(row['Active experts']).toMatch(/^\d/);
  }
  expect(rows[0]?.['Tokens']).toBe(rows[1]?.['Tokens']);
  await expect(page.getByText('Not strictly comparable')).toHaveCount(0);
  await expect(page.getByText('Before you conclude')).toHaveCount(0);
  await checkViews(page, 'seeds');
});
