import { type Page, expect } from '@playwright/test';
import { goTo } from './navigation.ts';
import { start } from './new-run-page.ts';
import { expectState, shownRun } from './run-page.ts';

/** As long as people write names. */
export const LONG_NAME =
  'Condensers with a name as long as people write them when a run has to say all that was changed in it, at once, v'.padEnd(
    120,
    '2',
  );

/** A method and a name for a run of few steps. */
export interface SmallRun {
  readonly name: string;
  readonly method: { readonly name: string; readonly options?: Readonly<Record<string, unknown>> };
}

/** Registers the bundled model and data set. */
export async function addSample(page: Page): Promise<void> {
  await goTo(page, 'Models');
  await page.getByRole('button', { name: 'Add the sample model' }).click();
  await expect(page.getByText('can be trained')).toBeVisible();
}

/** Opens the form of a new run and fills it from RUN.json: the sample, and what `spec` says besides. */
export async function importSampleRun(
  page: Page,
  spec: { readonly name: string } & Readonly<Record<string, unknown>>,
): Promise<void> {
  const document = {
    model: { path: 'sample-moe' },
    data: { train: [{ path: 'word-problems.jsonl' }], validation: { fraction: 0.01 }, maxLength: 64 },
    method: { name: 'full' },
    ...spec,
  };
  await page.getByRole('link', { name: 'New run' }).first().click();
  await expect(page.getByRole('radio', { name: /^sample-moe/ })).toBeVisible();
  await expect(page.getByRole('checkbox', { name: /^word-problems/ })).toBeVisible();
  await page.getByLabel('RUN.json', { exact: true }).setInputFiles({
    name: 'RUN.json',
    mimeType: 'application/json',
    buffer: Buffer.from(JSON.stringify(document)),
  });
  await expect(page.getByRole('textbox', { name: 'Name', exact: true })).toHaveValue(spec.name);
}

/** Trains the sample for a few short steps from an imported RUN.json; answers with the run's id. */
export async function trainSmall(page: Page, run: SmallRun): Promise<string> {
  await importSampleRun(page, {
    ...run,
    train: { steps: 24, microBatch: 1, gradientAccumulation: 1, learningRate: 1e-3 },
    evaluate: { everySteps: 12 },
  });
  await start(page);
  await expectState(page, 'completed');
  return shownRun(page);
}
