import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Page, expect } from '@playwright/test';
import { card } from './navigation.ts';
import { tableRows } from './tables.ts';

/** Long enough for a run of some seconds on a machine that does other things too. */
export const RUN_MS = 120_000;

/** The state chip beside the title. */
const stateChip = (page: Page) => page.locator('.page-title .chip').first();

/** Waits until the run shown is in `state`. */
export async function expectState(page: Page, state: string): Promise<void> {
  await expect(stateChip(page)).toContainText(state, { timeout: RUN_MS });
}

/** Steps done, as the progress bar says. */
export async function stepsDone(page: Page): Promise<number> {
  return Number(await page.getByRole('progressbar', { name: 'Steps done' }).getAttribute('aria-valuenow'));
}

/** Waits until more than `steps` steps are done. */
export async function expectStepsAbove(page: Page, steps: number): Promise<void> {
  await expect.poll(() => stepsDone(page), { timeout: RUN_MS }).toBeGreaterThan(steps);
}

/** Turns the loss curve and the heat map into their tables, which have the same numbers. */
export async function showTables(page: Page): Promise<void> {
  for (const title of ['Loss', 'Expert load']) {
    await card(page, title).getByRole('button', { name: 'table' }).click();
  }
}

/** The numbers of each step, newest first. */
export const stepRows = (page: Page) => tableRows(page.getByRole('region', { name: 'Numbers of each step' }));

/** The numbers of the experts of the first layer, as text. */
export async function expertNumbers(page: Page): Promise<string> {
  return JSON.stringify(await tableRows(page.getByRole('region', { name: 'Experts of layer 0' })));
}

interface Heartbeat {
  readonly pid: number;
  readonly wallMs: number;
  readonly phase: string;
  readonly step: number;
}

/** The last sign of life of the training process of run `id` below the data folder `home`. */
export function heartbeat(home: string, id: string): Heartbeat {
  return JSON.parse(readFileSync(path.join(home, 'runs', id, 'heartbeat.json'), 'utf8')) as Heartbeat;
}

/** The id of the run shown. */
export function shownRun(page: Page): string {
  const id = /#\/runs\/(run_[\w-]+)/.exec(page.url())?.[1];
  expect(id, `a run at ${page.url()}`).toBeDefined();
  return id ?? '';
}
