/** The main path from an empty data folder to a report, with real training and nothing in place of the real parts. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Page } from '@playwright/test';
import { expectAccessible, expectFits } from './pages/accessibility.ts';
import { mapColumns, oddlyNamedRows } from './pages/data-page.ts';
import { dropFile } from './pages/drop-file.ts';
import { addModel, sampleModel } from './pages/models-page.ts';
import { card, choose, goTo } from './pages/navigation.ts';
import { chooseMethod, estimates, fillTraining, start } from './pages/new-run-page.ts';
import { PREVIEW_HAS_NO_SCRIPTS, readOffline, saveReport } from './pages/report-page.ts';
import {
  expectState,
  expectStepsAbove,
  expertNumbers,
  heartbeat,
  RUN_MS,
  showTables,
  shownRun,
  stepRows,
  stepsDone,
} from './pages/run-page.ts';
import { tableRows, toNumber } from './pages/tables.ts';
import { expect, test, type Workbench } from './shell.ts';

const STEPS = 60;
const CONDENSERS = 'Condensers on shells';
const FULL = 'Full on shells';

test.describe.configure({ timeout: 300_000 });
test.use({ expectedErrors: [PREVIEW_HAS_NO_SCRIPTS] });

test('model, data, run, pause, crash, resume, second run, comparison, report', async ({ workbench }) => {
  const { page, home } = workbench;
  await test.step('the start page can be used', async () => {
    await expect(page.getByRole('button', { name: 'Try the sample' })).toBeEnabled();
  });
  await test.step('add a model by its path', () => addModel(page, sampleModel));
  await test.step('drop data, say what its columns mean, see its tokens', () => importData(page));
  await test.step('set up the run', () => setUp(page));
  const id = await test.step('start it and see it move', () => startAndWatch(page));
  await test.step('pause and resume', () => pauseAndResume(workbench, id));
  await test.step('lose the training process, go on', () => loseAndResume(workbench, id));
  await test.step('run the same with full fine-tuning', () => runFull(page, home));
  const losses = await test.step('compare', () => compare(page));
  await test.step('save the report and read it without a network', () => report(page, home, losses));
});

async function importData(page: Page): Promise<void> {
  await goTo(page, 'Home');
  await dropFile(page, 'shells.jsonl', oddlyNamedRows(80));
  await expect(page.getByRole('heading', { level: 1, name: 'shells' })).toBeVisible();
  await expect(page.getByText('not recognised')).toBeVisible();
  await mapColumns(page, { aufgabe: 'prompt', loesung: 'response' });
  const row = page.locator('.token-list > li').first();
  await expect(row).toContainText('row 1');
  const text = async (kind: string) => (await row.locator(`.token${kind}`).allTextContents()).join('');
  expect(await text('.trained')).toContain('Answer:');
  expect(await text(':not(.trained)')).toContain('How many');
  expect(await text('.trained')).not.toContain('How many');
  const trained = await row.locator('.token.trained').count();
  await expect(row.locator('.token-head')).toContainText(`${trained} trained`);
}

async function setUp(page: Page): Promise<void> {
  await page.getByRole('link', { name: 'New run with it' }).click();
  await expect(page.getByRole('checkbox', { name: /shells/ })).toBeChecked();
  await expect(page.locator('.start-blocked')).toHaveText('Start needs a method');
  await expect(page.getByRole('radio', { name: /^sample-moe/ })).toBeChecked();
  await card(page, '2 · Data')
    .getByRole('textbox', { name: /^Longest example/ })
    .fill('256');
  await chooseMethod(page, 'Expert condensers');
  const options = card(page, '3 · Method');
  await options.getByRole('textbox', { name: /^Condensers per layer/ }).fill('3');
  await options.getByRole('textbox', { name: /^Bias speed, bias phase/ }).fill('0.01');
  await options.getByRole('button', { name: /more options/ }).click();
  await choose(page, 'Usage', 'hard');
  await fillTraining(page, {
    name: CONDENSERS,
    steps: STEPS,
    training: { 'Micro-batch': '2', 'Gradient accumulation': '1', 'Learning rate': '1e-3' },
    evaluateEvery: 20,
    checkpointEvery: 10,
  });
  await expect(async () => expect((await estimates(page))['Steps']).toBe(String(STEPS))).toPass();
  const plan = await estimates(page);
  expect(plan['Memory']).toMatch(/\d.* [MG]B/);
  expect(plan['Disk']).toMatch(/\d.* [MG]B/);
  expect(plan['Trained']).toMatch(/\d M/);
}

/** Starts the run; its tables grow and change while the page is only looked at. */
async function startAndWatch(page: Page): Promise<string> {
  await start(page);
  await expectStepsAbove(page, 1);
  await showTables(page);
  const [before, experts] = [await stepRows(page), await expertNumbers(page)];
  await expect.poll(async () => (await stepRows(page)).length).toBeGreaterThan(before.length);
  await expect.poll(() => expertNumbers(page)).not.toBe(experts);
  const loss = (await stepRows(page)).map((row) => toNumber(row['loss']));
  expect(loss.every((value) => value > 0 && value < 20)).toBe(true);
  return shownRun(page);
}

async function pauseAndResume({ page, home }: Workbench, id: string): Promise<void> {
  await page.getByRole('button', { name: 'Pause' }).click();
  await expectState(page, 'paused');
  await expect.poll(() => heartbeat(home, id).phase).toBe('paused');
  const paused = heartbeat(home, id);
  // Two more signs of life, and still the same step.
  await expect.poll(() => heartbeat(home, id).wallMs).toBeGreaterThan(paused.wallMs + 1500);
  expect(heartbeat(home, id).step).toBe(paused.step);
  await expect.poll(() => stepsDone(page)).toBe(paused.step);
  expect(paused.step).toBeLessThan(STEPS);
  await page.getByRole('button', { name: 'Resume' }).click();
  await expectState(page, 'running');
  await expectStepsAbove(page, paused.step);
}

async function loseAndResume({ page, home }: Workbench, id: string): Promise<void> {
  await expect(page.getByText(/last checkpoint step \d/)).toBeVisible({ timeout: RUN_MS });
  const { pid } = heartbeat(home, id);
  process.kill(pid, 'SIGKILL');
  await expectState(page, 'interrupted');
  const notice = page.getByRole('alert');
  await expect(notice).toContainText('The training process was ended by SIGKILL');
  await expect(notice).toContainText(/goes on from the checkpoint at step \d+/);
  await notice.getByRole('button', { name: 'Resume' }).click();
  await expectState(page, 'running');
  expect(heartbeat(home, id).pid).not.toBe(pid);
  await expectState(page, 'completed');
  await expectAllSteps(page);
}

/** Every step is there once, and the last one is the last one asked for. */
async function expectAllSteps(page: Page): Promise<void> {
  await expect.poll(() => stepsDone(page)).toBe(STEPS);
  const steps = (await stepRows(page)).map((row) => toNumber(row['step']));
  expect(steps).toEqual(Array.from({ length: STEPS }, (_, i) => STEPS - i));
}

/** The second run is the first one's RUN.json with another method. */
async function runFull(page: Page, home: string): Promise<void> {
  const saving = page.waitForEvent('download');
  await page.getByRole('button', { name: 'More about this run' }).click();
  await page.getByRole('menuitem', { name: 'Save RUN.json' }).click();
  const file = path.join(home, 'RUN.json');
  await (await saving).saveAs(file);
  await page.getByRole('link', { name: 'New run' }).click();
  await page.getByLabel('RUN.json', { exact: true }).setInputFiles(file);
  await expect(page.getByRole('radio', { name: /^Expert condensers/ })).toBeChecked();
  await chooseMethod(page, 'Full fine-tuning');
  await page.getByRole('textbox', { name: 'Name', exact: true }).fill(FULL);
  await start(page);
  await expectState(page, 'completed');
  await card(page, 'Loss').getByRole('button', { name: 'table' }).click();
  await expectAllSteps(page);
}

/** Compares both runs; answers with their final training losses as shown. */
async function compare(page: Page): Promise<readonly string[]> {
  await goTo(page, 'Runs');
  for (const name of [CONDENSERS, FULL]) await page.getByRole('checkbox', { name: `Select ${name}` }).check();
  await page.getByRole('button', { name: 'Compare 2' }).click();
  const overlay = card(page, 'Training loss, smoothed');
  await expect(overlay.getByRole('img', { name: 'Training loss of 2 runs' })).toBeVisible();
  await overlay.getByRole('button', { name: 'table' }).click();
  const points = await tableRows(page.getByRole('region', { name: 'Loss of each run' }));
  for (const name of [CONDENSERS, FULL]) {
    const own = points.filter((point) => point['run'] === name);
    expect(own.length).toBeGreaterThan(10);
    expect(toNumber(own.at(-1)?.['step'])).toBe(STEPS);
  }
  const numbers = await tableRows(page.getByRole('region', { name: 'Numbers of each run' }));
  const of = (name: string) => numbers.find((row) => row['Run'] === name) ?? {};
  expect(of(FULL)['Steps']).toBe(String(STEPS));
  expect(of(CONDENSERS)['Tokens']).toBe(of(FULL)['Tokens']);
  const fields = await tableRows(page.getByRole('region', { name: 'Differences' }));
  expect(fields.find((row) => row['Field'] === 'method.name')).toEqual({
    Field: 'method.name',
    [CONDENSERS]: 'expert-condenser',
    [FULL]: 'full',
  });
  expect(fields.find((row) => row['Field'] === 'method.options.condensersPerLayer')?.[CONDENSERS]).toBe('3');
  expect(
    fields.map((row) => row['Field']).filter((field) => /^(data|train|model)\b/.test(field ?? '')),
  ).toEqual([]);
  return [CONDENSERS, FULL].map((name) => of(name)['Training loss, last tenth'] ?? '');
}

async function report(page: Page, home: string, losses: readonly string[]): Promise<void> {
  await page.getByRole('button', { name: 'Report' }).click();
  await expect(page.frameLocator('iframe').getByRole('heading', { name: 'Summary' })).toBeVisible();
  const file = path.join(home, 'report.html');
  await saveReport(page, file);
  await readOffline(pathToFileURL(file).href, async (document, requests) => {
    const heading = (level: number, name: string) =>
      expect(document.getByRole('heading', { level, name, exact: true })).toBeVisible();
    for (const name of ['Summary', 'Results', 'Loss', CONDENSERS, FULL, 'Configuration', 'Reproduce']) {
      await heading(2, name);
    }
    const results = await tableRows(document.getByRole('region', { name: 'Results of all runs' }));
    const row = (measure: string) => {
      const { [CONDENSERS]: a, [FULL]: b } = results.find((entry) => entry['measure'] === measure) ?? {};
      return [a, b];
    };
    expect(row('Steps')).toEqual([`${STEPS} of ${STEPS}`, `${STEPS} of ${STEPS}`]);
    expect(row('Final training loss')).toEqual(losses);
    // One chart of the losses; for each run load at the start, at the end and its change.
    const charts = document.getByRole('img');
    expect(await charts.count()).toBeGreaterThanOrEqual(7);
    for (const chart of await charts.all()) {
      await expect(chart).toBeVisible();
      expect(await chart.locator('path, rect, polyline').count()).toBeGreaterThan(3);
    }
    await expectAccessible(document, 'the report');
    await expectFits(document, 'the report');
    expect(requests).toEqual([pathToFileURL(file).href]);
  });
}
