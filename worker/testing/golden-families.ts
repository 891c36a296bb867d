/** The tiny model of each family among the golden cases. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const folder = join(import.meta.dirname, '../../../shared/golden/families');

/** Whether the golden cases of families are there: they are no part of this repository. */
export const hasGoldenFamilies = existsSync(folder);

/** Cases that are not named after their family alone. */
const caseNames: Readonly<Record<string, string>> = {
  llama: 'llama-dense',
  qwen2: 'qwen2-dense',
  qwen3: 'qwen3-dense',
  deepseek_v2: 'deepseek_v2-lite',
};

/** Folder of the model of a golden case, or of the first case of a family. */
export function goldenFamilyModel(name: string): string {
  return join(folder, caseNames[name] ?? name, 'model');
}
