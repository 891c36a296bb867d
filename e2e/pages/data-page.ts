import { type Page, expect } from '@playwright/test';
import { choose } from './navigation.ts';

/** `rows` questions and answers as JSONL, in columns whose names no format knows. */
export function oddlyNamedRows(rows: number): string {
  const names = ['Ines', 'Omar', 'Femi', 'Mina', 'Ada'];
  return Array.from({ length: rows }, (_, i) => {
    const [have, more] = [3 + (i % 7), 2 + (i % 11)];
    const name = names[i % names.length] ?? 'Ines';
    return JSON.stringify({
      aufgabe: `${name} has ${have} shells and finds ${more} more. How many are there?`,
      loesung: `${have} + ${more} = ${have + more}.\nAnswer: ${have + more}`,
      notiz: `row ${i + 1}`,
    });
  }).join('\n');
}

/** Says on the page of a data set what its columns mean, and saves it. */
export async function mapColumns(page: Page, meaning: Readonly<Record<string, string>>): Promise<void> {
  for (const [column, field] of Object.entries(meaning)) {
    await choose(page, `Meaning of column ${column}`, field);
  }
  await page.getByRole('button', { name: 'Use this mapping' }).click();
  await expect(page.getByRole('heading', { name: 'What the model will read' })).toBeVisible();
}
