import type { Locator } from '@playwright/test';

/** A table's rows as `column title → text`; a cell without a title is left out. */
export async function tableRows(table: Locator): Promise<readonly Readonly<Record<string, string>>[]> {
  return table.locator('table').evaluate((element) => {
    if (!(element instanceof HTMLTableElement)) return [];
    const titles = [...(element.tHead?.rows[0]?.cells ?? [])].map((cell) =>
      cell.textContent.replace(/[↓↑]/, '').trim(),
    );
    return [...element.tBodies].flatMap((body) =>
      [...body.rows].map((row) =>
        Object.fromEntries(
          [...row.cells].flatMap((cell, i) => {
            const title = titles[i] ?? '';
            return title === '' ? [] : [[title, cell.textContent.trim()]];
          }),
        ),
      ),
    );
  });
}

/** A number as the page shows it: thousands separated by commas, − for minus. */
export function toNumber(text: string | undefined): number {
  return Number((text ?? '').replaceAll(',', '').replace('−', '-'));
}
