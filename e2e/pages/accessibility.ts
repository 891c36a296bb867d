import { AxeBuilder } from '@axe-core/playwright';
import { type Page, expect } from '@playwright/test';

/**
 * Every rule that axe has: those of WCAG 2 that a program can check, and its best practices. Frames are left out: the
 * only one is the preview of the report, whose sandbox lets nothing run; the saved report is checked by itself.
 */
export async function expectAccessible(page: Page, where: string): Promise<void> {
  // The other mode puts the results together in a window of its own, which Electron refuses.
  const axe = new AxeBuilder({ page }).setLegacyMode().options({ iframes: false });
  const { violations } = await axe.analyze();
  const found = violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target.join(' ')} – ${node.failureSummary ?? ''}`),
  );
  expect(found, where).toEqual([]);
}

/** The document itself never scrolls sideways: wide content scrolls in a box of its own. */
export async function expectFits(page: Page, where: string): Promise<void> {
  const beyond = () =>
    page.evaluate(
      () =>
        Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) -
        document.documentElement.clientWidth,
    );
  // Charts follow a new size of the window in the next frame.
  await expect.poll(beyond, `pixels beyond the width of ${where}`).toBeLessThanOrEqual(0);
}

/** No short word in a table is broken into pieces. */
export async function expectWordsWhole(page: Page, where: string): Promise<void> {
  const broken = await page.locator('td').evaluateAll((cells) =>
    cells
      .filter((cell) => /^\S{1,8}$/.test(cell.textContent))
      .filter((cell) => {
        const word = document.createRange();
        // The word alone: boxes around it have edges of their own.
        word.selectNodeContents([...cell.querySelectorAll('*')].at(-1) ?? cell);
        return new Set([...word.getClientRects()].map(({ top }) => Math.round(top))).size > 1;
      })
      .map((cell) => cell.textContent),
  );
  expect(broken, `broken words on ${where}`).toEqual([]);
}

/** The element with the focus can be told from the others by a ring. */
export async function expectFocusVisible(page: Page): Promise<void> {
  const ring = await page.evaluate(() => {
    const element = document.activeElement;
    if (element === null || element === document.body) return 'nothing has the focus';
    const style = getComputedStyle(element);
    const outlined = style.outlineStyle !== 'none' && Number.parseFloat(style.outlineWidth) > 0;
    return outlined || style.boxShadow !== 'none'
      ? 'visible'
      : `no ring around ${element.outerHTML.slice(0, 120)}`;
  });
  expect(ring).toBe('visible');
}
