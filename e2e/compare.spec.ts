/** The comparison of runs that were really trained. */
import { card, openPath } from './pages/navigation.ts';
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
