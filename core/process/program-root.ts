/** Where the program lies, as source or as bundle, and which version it is. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { invariant } from '#core/contract/errors.ts';

/** A path below the folder of the program. */
export function fromRoot(relative: string): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(folder, 'package.json'))) {
    const parent = path.dirname(folder);
    invariant(parent !== folder, 'the program has no package.json above it');
    folder = parent;
  }
  return path.join(folder, relative);
}

/** Version in the program's package.json. */
export function programVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(fromRoot('package.json'), 'utf8'));
  invariant(
    typeof manifest === 'object' && manifest !== null && 'version' in manifest,
    'package.json has no version',
  );
  return String(manifest.version);
}
