import { type Page, expect } from '@playwright/test';
import { card } from './navigation.ts';

/** What the long path sets by hand. */
export interface RunForm {
  readonly name: string;
  readonly steps: number;
  /** Numbers by the title of their field. */
  readonly training: Readonly<Record<string, string>>;
  readonly checkpointEvery: number;
  readonly evaluateEvery: number;
}

/** Fills in the fields of "4 · Training" and the name. */
export async function fillTraining(page: Page, form: RunForm): Promise<void> {
  const training = card(page, '4 · Training');
  await training.getByRole('group', { name: 'Length in' }).getByRole('button', { name: 'steps' }).click();
  await training.getByRole('textbox', { name: /^Length/ }).fill(String(form.steps));
  for (const [title, value] of Object.entries(form.training)) {
    await training.getByRole('textbox', { name: new RegExp(`^${title}`) }).fill(value);
  }
  await training.getByRole('button', { name: 'Optimizer, evaluation, checkpoints and device' }).click();
  const every = (section: string) =>
    training
      .getByRole('group', { name: section, exact: true })
      .getByRole('textbox', { name: /^Every steps/ });
  await every('Evaluation').fill(String(form.evaluateEvery));
  await every('Checkpoints').fill(String(form.checkpointEvery));
  await page.getByRole('textbox', { name: 'Name', exact: true }).fill(form.name);
}

/** Chooses the method titled `title`, whose card says what it trains and costs. */
export async function chooseMethod(page: Page, title: string): Promise<void> {
  const option = card(page, '3 · Method').getByRole('radio', { name: new RegExp(`^${title}`) });
  await option.check();
  await expect(card(page, '3 · Method').getByRole('heading', { name: 'Options' })).toBeVisible();
}

/** The estimates of the review card: title → value. */
export async function estimates(page: Page): Promise<Readonly<Record<string, string>>> {
  const review = card(page, '5 · Review');
  await expect(review.locator('.plan-numbers')).toBeVisible();
  await expect(review.getByText('estimating…')).toBeHidden();
  return Object.fromEntries(
    await review
      .locator('.plan-numbers > div')
      .evaluateAll((parts) =>
        parts.map((part) => [
          part.querySelector('dt')?.textContent ?? '',
          part.querySelector('dd')?.textContent ?? '',
        ]),
      ),
  ) as Record<string, string>;
}

/** Starts the run and waits for its page. */
export async function start(page: Page): Promise<void> {
  await expect(page.locator('.start-blocked')).toHaveCount(0);
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  await expect(page).toHaveURL(/#\/runs\/run_/);
}
