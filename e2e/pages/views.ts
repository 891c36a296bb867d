import { type Page, test } from '@playwright/test';
import { expectAccessible, expectFits } from './accessibility.ts';

const SIZES = [
  { width: 1280, height: 800 },
  { width: 1920, height: 1080 },
] as const;

/** Checks what is on the screen now in both sizes and both themes, and keeps a picture of each for people to look at. */
export async function checkViews(page: Page, name: string): Promise<void> {
  for (const size of SIZES) {
    await page.setViewportSize(size);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      const where = `${name} ${colorScheme} ${size.width}`;
      await expectFits(page, where);
      await expectAccessible(page, where);
      const picture = test.info().outputPath(`${where.replaceAll(' ', '-')}.png`);
      await page.screenshot({ path: picture, fullPage: true });
    }
  }
}
