import { type Page, chromium, expect } from '@playwright/test';
import { chromiumOptions } from '../chromium.ts';

/** What the browser says when the trace recorder tries to run in the preview, whose sandbox allows no script. */
export const PREVIEW_HAS_NO_SCRIPTS = /^console: Blocked script execution in 'about:srcdoc'/;

/** Saves the report of the runs chosen on the report page as HTML; answers with the file. */
export async function saveReport(page: Page, to: string): Promise<void> {
  const saving = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save HTML' }).click();
  const file = await saving;
  expect(file.suggestedFilename()).toMatch(/\.html$/);
  await file.saveAs(to);
}

/** Opens the file at `url` in a browser of its own that has no network, and notes what the document asks for. */
export async function readOffline(
  url: string,
  read: (page: Page, requests: readonly string[]) => Promise<void>,
): Promise<void> {
  const browser = await chromium.launch(await chromiumOptions());
  try {
    const context = await browser.newContext({ offline: true, viewport: { width: 1280, height: 800 } });
    const requests: string[] = [];
    context.on('request', (request) => requests.push(request.url()));
    await context.route(/^(?!file:)/, (route) => route.abort());
    const page = await context.newPage();
    await page.goto(url);
    await read(page, requests);
  } finally {
    await browser.close();
  }
}
