import { type Page, expect } from '@playwright/test';

/** Opens a page of the navigation by its link. */
export async function goTo(page: Page, title: string): Promise<void> {
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: title }).click();
  await expect(page.getByRole('heading', { level: 1, name: title, exact: true })).toBeVisible();
}

/** Opens the page at `path` of the router, without a reload. */
export async function openPath(page: Page, path: string): Promise<void> {
  await page.evaluate((hash) => {
    location.hash = hash;
  }, path);
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
}

/** A section of the page by its heading. */
export const card = (page: Page, title: string | RegExp) =>
  page.getByRole('main').getByRole('region', { name: title, exact: typeof title === 'string' });

/** Chooses the item that begins with `item` in the drop-down list named `label`. */
export async function choose(page: Page, label: string, item: string): Promise<void> {
  await page.getByRole('combobox', { name: label, exact: true }).click();
  await page.getByRole('option', { name: new RegExp(`^${item}`) }).click();
  await expect(page.getByRole('listbox')).toBeHidden();
}
