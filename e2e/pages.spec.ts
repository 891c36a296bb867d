/** Every page without and with data: accessible, within its window, usable by keyboard, and clear about errors. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Page } from '@playwright/test';
import { expectAccessible, expectFits, expectFocusVisible, expectWordsWhole } from './pages/accessibility.ts';
import { dropFile } from './pages/drop-file.ts';
import { card, choose, goTo, openPath } from './pages/navigation.ts';
import { PREVIEW_HAS_NO_SCRIPTS } from './pages/report-page.ts';
import { addSample, LONG_NAME, trainSmall } from './pages/seed-runs.ts';
import { checkViews } from './pages/views.ts';
import { expect, test } from './shell.ts';

test.describe.configure({ timeout: 240_000 });
test.use({ expectedErrors: [PREVIEW_HAS_NO_SCRIPTS] });

/** Both sizes and both themes; contrast does not depend on the size, nor structure on the theme. */
const VIEWS = [
  { width: 1280, height: 800, colorScheme: 'light' },
  { width: 1920, height: 1080, colorScheme: 'dark' },
] as const;
const SMALL = { width: 900, height: 700 } as const;
/** What is left of 1280 × 800 at a zoom of 200 %. */
const ZOOMED = { width: 640, height: 400 } as const;

/** Checks the page at `address` in every view. */
async function checkPage(page: Page, address: string): Promise<void> {
  await openPath(page, address);
  await expect(page.locator('.skeleton')).toHaveCount(0);
  for (const { width, height, colorScheme } of VIEWS) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    const where = `${address} ${colorScheme} ${width} × ${height}`;
    await expectAccessible(page, where);
    await expectFits(page, where);
  }
  for (const size of [SMALL, ZOOMED]) {
    await page.setViewportSize(size);
    const where = `${address} ${size.width} × ${size.height}`;
    await expectFits(page, where);
    await expectWordsWhole(page, where);
  }
}

test('pages without data', async ({ workbench: { page } }) => {
  for (const address of [
    '/',
    '/models',
    '/data',
    '/new',
    '/runs',
    '/compare',
    '/report',
    '/settings',
    '/nowhere',
  ]) {
    await test.step(address, () => checkPage(page, address));
  }
});

test('pages with data, one run with a name of 120 characters', async ({ workbench: { page } }) => {
  await addSample(page);
  const full = await trainSmall(page, { name: 'Full', method: { name: 'full' } });
  const condensers = await trainSmall(page, {
    name: LONG_NAME,
    method: { name: 'expert-condenser', options: { biasSpeed: 0.01 } },
  });
  await goTo(page, 'Data');
  await page.getByRole('link', { name: 'word-problems' }).click();
  const data = new URL(page.url()).hash.slice(1);
  const both = `${full},${condensers}`;
  const addresses = ['/', '/models', '/data', data, data.replace('/data', '/new/data'), '/runs'];
  for (const address of [
    ...addresses,
    `/runs/${condensers}`,
    `/compare/${both}`,
    `/report/${both}`,
    '/settings',
  ]) {
    await test.step(address, () => checkPage(page, address));
  }
});

test('everything by keyboard', async ({ workbench: { page } }) => {
  const { keyboard } = page;
  const title = (name: string) =>
    expect(page.getByRole('heading', { level: 1, name, exact: true })).toBeVisible();
  await addSample(page);
  await trainSmall(page, { name: 'Keys', method: { name: 'full' } });
  await test.step('G and a letter', async () => {
    const letters = {
      h: 'Home',
      m: 'Models',
      d: 'Data',
      r: 'Runs',
      c: 'Compare',
      e: 'Report',
      s: 'Settings',
    };
    for (const [letter, name] of Object.entries(letters)) {
      await keyboard.press('g');
      await keyboard.press(letter);
      await title(name);
    }
    await keyboard.press('n');
    await title('New run');
  });
  await test.step('letters typed into a field stay there', async () => {
    const field = page.getByRole('textbox', { name: 'Name', exact: true });
    await field.fill('');
    await field.pressSequentially('g m n?/');
    await expect(field).toHaveValue('g m n?/');
    await title('New run');
  });
  await test.step('the first stop skips the navigation', async () => {
    await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
    await openPath(page, '/');
    await page.reload();
    await title('Home');
    await keyboard.press('Tab');
    await expect(page.getByRole('link', { name: 'Skip to the page' })).toBeFocused();
    await expectFocusVisible(page);
    await keyboard.press('Enter');
    await expect(page.getByRole('main')).toBeFocused();
  });
  await test.step('focus is visible at every stop, and returns after a dialog', async () => {
    const stops = new Set<string>();
    for (let i = 0; i < 12; i += 1) {
      await keyboard.press('Tab');
      await expectFocusVisible(page);
      stops.add(await focusedText(page));
    }
    expect(stops.size).toBeGreaterThan(8);
    const link = card(page, 'Recent runs').getByRole('link', { name: 'Keys' });
    await link.focus();
    await keyboard.press('?');
    const help = page.getByRole('dialog', { name: 'Keyboard' });
    await expect(help).toBeVisible();
    await expectAccessible(page, 'the shortcuts');
    await keyboard.press('Escape');
    await expect(help).toBeHidden();
    await expect(link).toBeFocused();
    await keyboard.press('/');
    const search = page.getByRole('combobox', { name: /^Search/ });
    await expect(search).toBeFocused();
    await search.pressSequentially('no such thing');
    await expect(page.getByRole('option')).toHaveCount(0);
    await search.fill('keys');
    await expect(page.getByRole('option', { selected: true })).toContainText('Keys');
    await keyboard.press('Enter');
    await title('Keys');
  });
  await test.step('arrows in the heat map, an expert, and back', async () => {
    const grid = page.getByRole('grid');
    await grid.focus();
    const cell = grid.getByRole('gridcell');
    await expect(cell).toContainText('Layer 0, expert 0:');
    for (const key of ['ArrowRight', 'ArrowRight', 'ArrowDown', 'ArrowLeft']) await keyboard.press(key);
    await expect(cell).toContainText('Layer 1, expert 1:');
    await expect(page.locator('.heat-map-readout')).toContainText(/Layer 1, expert 1: load .* × uniform/);
    await keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: 'Layer 1, expert 1' });
    await expect(dialog.getByRole('heading', { name: 'Layer 1, expert 1' })).toBeFocused();
    await expect(dialog.getByText('load ÷ uniform').first()).toBeVisible();
    await expectAccessible(page, 'an expert');
    await keyboard.press('Escape');
    await expect(dialog).toBeHidden();
    await expect(grid).toBeFocused();
  });
});

test('errors say what is wrong and what to do', async ({ workbench: { page, home } }) => {
  await test.step('data files that cannot be read', async () => {
    const files = [
      ['damaged.parquet', 'PAR1 and no footer', 'copy it again'],
      ['picture.png', 'no data', 'Rename the file'],
    ] as const;
    for (const [name, content, hint] of files) {
      await dropFile(page, name, content);
      const dialog = page.getByRole('dialog', { name: 'The file was not imported' });
      const alert = dialog.getByRole('alert');
      await expect(alert).toContainText(`${name}: the`);
      await expect(alert.locator('p.muted')).toContainText(hint);
      await expectAccessible(page, name);
      await page.keyboard.press('Escape');
      await expect(dialog).toBeHidden();
    }
  });
  await test.step('a data file with a damaged row', async () => {
    await addSample(page);
    await dropFile(page, 'damaged.jsonl', '{"prompt": "a", "response": "b"}\n{"prompt": "c", \n');
    const finding = page.locator('.findings li').filter({ hasText: 'error' });
    await expect(finding).toContainText('damaged.jsonl: row 2 is not valid JSON');
    await finding.getByRole('button', { name: '2', exact: true }).click();
    await expect(page.getByRole('spinbutton', { name: 'Row' })).toHaveValue('2');
    await expectAccessible(page, 'findings');
  });
  await test.step('a model folder without config.json, and a path that is not there', async () => {
    const folder = path.join(home, 'no-model');
    mkdirSync(folder);
    await goTo(page, 'Models');
    const field = page.getByRole('textbox', { name: 'Path of a model folder' });
    await field.fill(folder);
    await field.press('Enter');
    const alert = page.getByRole('alert');
    await expect(alert).toContainText('config.json');
    await expect(alert).toContainText('no-model');
    await expect(alert.locator('p.muted')).toHaveText(/\w+.*\.$/);
    await expectAccessible(page, 'the model error');
    // What was typed is still there to be corrected.
    await expect(field).toHaveValue(folder);
    await expect(field).toBeFocused();
    await field.fill('/nowhere/at/all');
    await field.press('Enter');
    await expect(alert).toContainText('/nowhere/at/all: no such file or folder');
  });
  await test.step('a length that is none, which stays to be mended', async () => {
    await openPath(page, '/new');
    const length = page.getByRole('textbox', { name: /^Length/ });
    await length.fill('');
    await expect(length).toHaveValue('');
    await length.pressSequentially('12x');
    await expect(length).toHaveValue('12x');
    await expect(page.getByRole('alert').filter({ hasText: 'Length: expected' })).toBeVisible();
    await length.fill('12');
    await expect(page.getByRole('alert').filter({ hasText: 'Length: expected' })).toHaveCount(0);
    await expect(length).toHaveValue('12');
  });
  await test.step('roles with names of their own, which are mapped where they are found', async () => {
    const row = (n: number) => [
      { role: 'user', content: `${n} + 2?` },
      { role: 'bot', content: `${n + 2}` },
    ];
    const rows = [1, 2, 3].map((n) => `${JSON.stringify({ messages: row(n) })}\n`);
    await dropFile(page, 'turns.jsonl', rows.join(''));
    const read = card(page, 'What the model will read');
    await expect(read.getByRole('alert')).toContainText("messages[1].role is 'bot'");
    await choose(page, 'Meaning of role bot', 'assistant');
    await page.getByRole('button', { name: 'Use this mapping' }).click();
    await expect(read.getByText(/^✓ Nothing to report/)).toBeVisible();
    await expect(read.getByRole('alert')).toHaveCount(0);
    await expect(read.getByText(/row 1 \d+ tokens, [1-9]\d* trained/)).toBeVisible();
    await checkViews(page, 'roles mapped');
  });
  await test.step('a run that is not there', async () => {
    await openPath(page, '/runs/run_00000000-000000-none');
    await expect(page.getByRole('alert')).toContainText('Could not read the run');
    await expectAccessible(page, 'the missing run');
  });
});

/** What the focused element is called. */
function focusedText(page: Page): Promise<string> {
  return page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200) ?? '');
}
