/** Where the tokenizer packages that golden cases name are found. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import type { CaseDocument } from './golden-case.ts';

const root = join(import.meta.dirname, '../..');

/**
 * Folder of the npm package that `document` names.
 * @throws UserError `parity/tokenizer-package-missing` when it is not installed.
 */
export function goldenTokenizerPackage(document: CaseDocument): string {
  const name = String(document['package']);
  const folder = join(root, 'node_modules/.cache/golden-tokenizers/node_modules', name);
  if (!existsSync(folder)) {
    throw new UserError(
      'parity/tokenizer-package-missing',
      `the package ${name} is not installed`,
      'Run `node scripts/fetch-golden-tokenizers.mjs` once.',
    );
  }
  return folder;
}
