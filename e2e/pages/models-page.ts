import path from 'node:path';
import { type Page, expect } from '@playwright/test';
import { goTo } from './navigation.ts';

/** Folder of the bundled checkpoint: 4 layers, 16 experts. */
export const sampleModel = path.resolve(import.meta.dirname, '../../resources/sample/sample-moe');

/** Adds the model folder at `folder` by its typed path. */
export async function addModel(page: Page, folder: string): Promise<void> {
  await goTo(page, 'Models');
  const field = page.getByRole('textbox', { name: 'Path of a model folder' });
  await field.fill(folder);
  await field.press('Enter');
  await expect(page.getByText('can be trained')).toBeVisible();
}
