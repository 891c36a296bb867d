import { type Page, expect } from '@playwright/test';

/**
 * Drops a file named `name` with the content `text` anywhere on the page, as a drag from the desktop does: a real
 * `File` in a real `DataTransfer`.
 */
export async function dropFile(page: Page, name: string, text: string): Promise<void> {
  const transfer = await page.evaluateHandle(
    ([fileName, content]) => {
      const data = new DataTransfer();
      data.items.add(new File([content], fileName));
      return data;
    },
    [name, text] as const,
  );
  const main = page.getByRole('main');
  await main.dispatchEvent('dragenter', { dataTransfer: transfer });
  await expect(page.getByText('Drop to import as a data set')).toBeVisible();
  await main.dispatchEvent('dragover', { dataTransfer: transfer });
  await main.dispatchEvent('drop', { dataTransfer: transfer });
  await expect(page.getByText('Drop to import as a data set')).toBeHidden();
  await transfer.dispose();
}
