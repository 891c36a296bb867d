/** Every page without and with data: accessible, within its window, usable by keyboard, and clear about errors. */
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { Page } from '@playwright/test';
import { expectAccessible, expectFits, expectFocusVisible } from './pages/accessibility.ts';
import { dropFile } from './pages/drop-file.ts';
import { card, goTo, openPath } from './pages/navigation.ts';
import { PREVIEW_HAS_NO_SCRIPTS } from './pages/report-page.ts';
import { addSample, trainSmall } from './pages/seed-runs.ts';
import { tableRows } from './pages/tables.ts';
import { checkViews } from './pages/views.ts';
import { expect, test } from './shell.ts';

const LONG_NAME =
  'Condensers with a name as long as people write them when a run has to say all that was changed in it, at once, v'.padEnd(
    120,
    '2',
  );

test.describe.configure({ timeout: 240_000 });
test.use({ expectedErrors: [PREVIEW_HAS_NO_SCRIPTS] });

/** Both sizes and both themes; contrast does not depend on the size, nor structure on the theme. */
const VIEWS = [
  { width: 1280, height: 800, colorScheme: 'light' },
  { width: 1920, height: 1080, colorScheme: 'dark' },
] as const;
const SMALL = { width: 900, height: 700 } as const;

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
  await page.setViewportSize(SMALL);
  await expectFits(page, `${address} ${SMALL.width} × ${SMALL.height}`);
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

test('an ended run is asked suites of questions and exported', async ({ workbench: { page, home } }) => {
  await addSample(page);
  await trainSmall(page, { name: 'Asked', method: { name: 'full' } });
  const scores = card(page, 'Scores on questions');
  const open = () => scores.getByRole('button', { name: 'Ask a suite…' }).click();
  const longest = (tokens: string) => scores.getByRole('textbox', { name: /^Longest answer/ }).fill(tokens);
  const ask = () => scores.getByRole('button', { name: 'Ask', exact: true }).click();
  const rows = () => tableRows(scores.getByRole('region', { name: 'Scores on suites' }));
  const drop = (name: string, text: string) => dropFile(page, name, text, 'Drop to ask its questions');
  const row = (prompt: string) => `${JSON.stringify({ prompt, response: 'Answer: 4' })}\n`;
  await test.step('the rows held out', async () => {
    await open();
    await longest('4');
    await checkViews(page, 'scores form');
    const heldOut = await scores.getByRole('button', { name: /rows held out/ }).textContent();
    await ask();
    await expect(async () => expect(await rows()).toHaveLength(1)).toPass({ timeout: 60_000 });
    expect(await rows()).toMatchObject([{ Suite: 'validation', Extractor: '1' }]);
    expect(heldOut).toBe(`the ${(await rows())[0]?.['Questions']} rows held out`);
    expect((await rows())[0]?.['Accuracy (95 %)']).toMatch(/^[\d.]+ % \([\d.]+ to [\d.]+ %\)$/);
  });
  await test.step('a dropped file with a row that is no question', async () => {
    await open();
    await scores.getByRole('button', { name: 'a file' }).click();
    await drop('bad.jsonl', `${row('2 + 2?')}{"prompt": "and no answer"}\n`);
    await longest('4');
    await ask();
    const alert = scores.getByRole('alert');
    await expect(alert).toContainText('bad.jsonl was not scored', { timeout: 60_000 });
    await expect(alert).toContainText('bad.jsonl: row 2');
    await checkViews(page, 'scores failure');
  });
  await test.step('a good one with a long name', async () => {
    await open();
    await scores.getByRole('button', { name: 'a file' }).click();
    await drop(`${LONG_NAME}.jsonl`, row('2 + 2?') + row('1 + 3?'));
    await longest('4');
    await ask();
    await expect(async () => expect(await rows()).toHaveLength(2)).toPass({ timeout: 60_000 });
    expect(await rows()).toMatchObject([
      { Suite: `${LONG_NAME}.jsonl`, Questions: '2' },
      { Suite: 'validation' },
    ]);
    await expect(scores.getByRole('alert')).toHaveCount(0);
  });
  await test.step('one that is stopped keeps what was answered', async () => {
    await open();
    await scores.getByRole('button', { name: 'a file' }).click();
    const suite = path.resolve(import.meta.dirname, '../resources/sample/data/word-problems.jsonl');
    const field = scores.getByRole('textbox', { name: 'Path of a suite' });
    await field.fill(suite);
    await field.press('Enter');
    await ask();
    await expect(scores.getByText(/of 1,200 asked/)).toBeVisible({ timeout: 60_000 });
    await expect(async () => expect(await rows()).toHaveLength(3)).toPass({ timeout: 60_000 });
    await checkViews(page, 'scores running');
    await scores.getByRole('button', { name: 'Stop, keep the answers so far' }).click();
    await expect(scores.getByRole('button', { name: 'Ask a suite…' })).toBeVisible();
    expect((await rows())[0]?.['Questions']).toMatch(/^\d+ of 1,200$/);
  });
  await test.step('it is exported to a new folder, and not twice to the same', async () => {
    const exports = card(page, 'Export');
    const write = async (picture: string) => {
      await exports.getByRole('button', { name: 'Export…' }).click();
      await exports.getByRole('radio', { name: /^ONNX/ }).check();
      await expect(exports.getByRole('radio', { name: /^Adapter/ })).toBeDisabled();
      const field = exports.getByRole('textbox', { name: 'Path of a folder' });
      await field.fill(home);
      await field.press('Enter');
      await expect(exports.getByRole('button', { name: 'Choose another' })).toBeVisible();
      await checkViews(page, picture);
      await exports.getByRole('button', { name: 'Export', exact: true }).click();
    };
    await write('export form');
    await expect(exports.getByText(/run by ONNX Runtime: logits of up to/)).toBeVisible({ timeout: 60_000 });
    await expect(exports.getByText(/Asked-onnx$/)).toBeVisible();
    expect(readdirSync(path.join(home, 'Asked-onnx'))).toContain('model.onnx.data');
    await checkViews(page, 'export done');
    await write('export form again');
    await expect(exports.getByRole('alert')).toContainText('exists and is not an empty folder', {
      timeout: 60_000,
    });
    await checkViews(page, 'export failure');
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
