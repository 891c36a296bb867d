import { type Page, expect } from '@playwright/test';

/**
 * Drops a file named `name` with the content `text` anywhere on the page, as a drag from the desktop does: a real
 * `File` in a real `DataTransfer`. `words` are what the page says meanwhile.
 */
export async function dropFile(
  page: Page,
  name: string,
  text: string,
  words = 'Drop to import as a data set',
): Promise<void> {
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
  await expect(page.getByText(words)).toBeVisible();
  await main.dispatchEvent('dragover', { dataTransfer: transfer });
  await main.dispatchEvent('drop', { dataTransfer: transfer });
  await expect(page.getByText(words)).toBeHidden();
  await transfer.dispose();
}
