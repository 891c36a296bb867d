/** Every method through its form: each option with label and help, a review, a short run, its result. */
import type { Locator, Page } from '@playwright/test';
import { z } from 'zod';
import { describeMethods } from '#worker/methods/index.ts';
import { card, goTo } from './pages/navigation.ts';
import { chooseMethod, estimates, start } from './pages/new-run-page.ts';
import { RUN_MS, expectState, showTables, stepRows } from './pages/run-page.ts';
import { addSample, importSampleRun } from './pages/seed-runs.ts';
import { tableRows } from './pages/tables.ts';
import { checkViews } from './pages/views.ts';
import { expect, test } from './shell.ts';

test.describe.configure({ timeout: 300_000 });

const STEPS = 2;

const Fields = z.record(z.string(), z.object({ title: z.string(), description: z.string() }));

/** Values, by title, without which two steps would take a minute or show nothing. */
const short: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  smt: { 'Warm-up': '1' },
  esft: { 'Size of the sample': '64' },
};

/** The widest form is looked at by people too. */
const WITH_MANY_OPTIONS = 'expert-condenser';

test('every method: choose, read its options, start, see what came of it', async ({
  workbench: { page },
}) => {
  await addSample(page);
  const methods = describeMethods();
  for (const method of methods) {
    await test.step(`form of ${method.name}`, async () => {
      await importSampleRun(page, {
        name: method.title,
        train: { steps: STEPS, microBatch: 1, gradientAccumulation: 1 },
      });
      await chooseMethod(page, method.title);
      await expectOptions(page, Fields.parse(method.optionsSchema['properties'] ?? {}));
      for (const [title, value] of Object.entries(short[method.name] ?? {}))
        await field(page, title).getByRole('textbox').fill(value);
      await expect(async () => expect((await estimates(page))['Steps']).toBe(String(STEPS))).toPass();
      expect((await estimates(page))['Memory']).toMatch(/\d.* [MG]B/);
      if (method.name === WITH_MANY_OPTIONS) await checkViews(page, 'many options');
      await start(page);
    });
  }
  await test.step('all runs end', async () => {
    await goTo(page, 'Runs');
    await expect(async () => {
      const rows = await tableRows(page.getByRole('region', { name: 'Runs' }));
      const states = new Map(rows.map((row) => [row['Method'], row['State']]));
      expect(states).toEqual(new Map(methods.map(({ name }) => [name, '✓ completed'])));
    }).toPass({ timeout: RUN_MS });
  });
  for (const { title, name } of methods) {
    await test.step(`result of ${name}`, async () => {
      await goTo(page, 'Runs');
      await page.getByRole('link', { name: title, exact: true }).click();
      await expectState(page, 'completed');
      await showTables(page);
      const losses = (await stepRows(page)).map((row) => Number(row['loss']));
      expect(losses).toHaveLength(STEPS);
      // A random guess among the 2,000 tokens of the sample costs 7.6; tokens may count twice.
      expect(losses.every((loss) => loss > 0 && loss < 16)).toBe(true);
    });
  }
});

test('the experts that ESFT would train, before a run', async ({ workbench: { page } }) => {
  await addSample(page);
  await importSampleRun(page, { name: 'preview', train: { steps: STEPS, microBatch: 1 } });
  await chooseMethod(page, 'Expert-specialised fine-tuning');
  const method = card(page, '3 · Method');
  await method.getByRole('button', { name: 'Preview experts' }).click();
  await expect(method.getByRole('status')).toHaveText(
    /^\d+ experts, .* parameters, .*B in a file would train\.$/,
  );
  const layers = await tableRows(method.getByRole('region', { name: 'Experts that would train' }));
  expect(layers.map((row) => row['Layer'])).toEqual(['0', '1', '2', '3']);
  const few = await method.getByRole('status').textContent();
  await method.getByRole('slider', { name: 'Share' }).fill('0.5');
  await expect(method.getByRole('textbox', { name: /^Share of the routing/ })).toHaveValue('0.5');
  await expect(method.getByRole('status')).not.toHaveText(few ?? '');
  await method.getByRole('slider', { name: 'Share' }).press('ArrowRight');
  await expect(method.getByRole('textbox', { name: /^Share of the routing/ })).toHaveValue('0.55');
});

test('methods together: added and removed by keyboard, a clash told before the start, one run of all', async ({
  workbench: { page },
}) => {
  await addSample(page);
  await importSampleRun(page, {
    name: 'Together',
    train: { steps: STEPS, microBatch: 1, gradientAccumulation: 1 },
  });
  await chooseMethod(page, 'LoRA');
  const method = card(page, '3 · Method');
  const add = async (title: string) => {
    await method.getByRole('combobox', { name: 'Add a method beside it' }).focus();
    await page.keyboard.press('ArrowDown');
    await page.getByRole('option', { name: title, exact: true }).waitFor();
    await page.keyboard.type(title);
    await page.keyboard.press('Enter');
    await expect(method.getByRole('group', { name: new RegExp(`^${title}`) })).toBeVisible();
  };
  await add('Expert condensers');
  await add('DoRA');
  const clash = 'method.options.methods: lora and dora both decide adapters. Leave one of them out';
  await expect(method.locator('.notice')).toContainText(clash);
  await expect(page.locator('.start-blocked')).toContainText(clash);
  await checkViews(page, 'methods together');
  await method.getByRole('button', { name: 'Remove DoRA' }).focus();
  await page.keyboard.press('Enter');
  await expect(method.getByRole('combobox', { name: 'Add a method beside it' })).toBeFocused();
  await expect(async () => expect((await estimates(page))['Steps']).toBe(String(STEPS))).toPass();
  await start(page);
  await expectState(page, 'completed');
  await expect(page.getByText('lora + expert-condenser', { exact: true })).toBeVisible();
  await page.getByRole('link', { name: 'New run' }).first().click();
  await method.getByRole('button', { name: 'compare methods' }).click();
  await method.getByRole('checkbox', { name: /^LoRA/ }).check();
  await add('Expert condensers');
  await expect(method.getByRole('checkbox', { name: /^LoRA/ })).not.toBeChecked();
  await method.getByRole('checkbox', { name: /^LoRA/ }).check();
  await checkViews(page, 'methods together compared');
});

/** The option of the method with this title. */
const field = (page: Page, title: string): Locator =>
  card(page, '3 · Method')
    .locator('.field')
    .filter({ has: page.locator('label').getByText(title, { exact: true }) });

/** Every option has one control, which a screen reader names by its title and describes by its help. */
async function expectOptions(page: Page, fields: z.output<typeof Fields>): Promise<void> {
  const more = card(page, '3 · Method').getByRole('button', { name: /more options?$/ });
  if ((await more.count()) > 0) await more.click();
  await expect(card(page, '3 · Method').locator('.field')).toHaveCount(Object.keys(fields).length);
  for (const { title, description } of Object.values(fields)) {
    const control = field(page, title).locator('input.input, [role=combobox], [role=switch]');
    await expect(control).toHaveAccessibleName(title);
    await expect(control).toHaveAccessibleDescription(new RegExp(escaped(inForm(description))));
  }
}

/** The help of an option as the form says it: what is null in a document is an empty field. */
const inForm = (description: string) => description.replaceAll('null:', 'none:');

/** `text` as a part of a regular expression that means it. */
const escaped = (text: string) => text.trim().replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
