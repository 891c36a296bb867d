import { AxeBuilder } from '@axe-core/playwright';
import { type Page, expect } from '@playwright/test';
import type { Workbench } from '../shell.ts';

/** Every rule of WCAG 2.2 A and AA that can be checked by program, and axe's best practices. */
export async function expectAccessible(
  { page, kind }: Pick<Workbench, 'page' | 'kind'>,
  where: string,
): Promise<void> {
  const axe = new AxeBuilder({ page });
  // Electron refuses the blank window in which the results would be put together.
  if (kind === 'electron') axe.setLegacyMode();
  const { violations } = await axe.analyze();
  const found = violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target.join(' ')} – ${node.failureSummary ?? ''}`),
  );
  expect(found, where).toEqual([]);
}

/** The document itself never scrolls sideways: wide content scrolls in a box of its own. */
export async function expectFits(page: Page, where: string): Promise<void> {
  const { content, window } = await page.evaluate(() => ({
    content: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth),
    window: document.documentElement.clientWidth,
  }));
  expect(content, `width of ${where}`).toBeLessThanOrEqual(window);
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
