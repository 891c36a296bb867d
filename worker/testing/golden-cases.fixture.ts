/** Golden cases by name, wherever they are. */
import { existsSync } from 'node:fs';
import path from 'node:path';

/** Those that are part of the repository. */
export const committed = path.join(import.meta.dirname, 'goldens');

/** All, in checkouts that lie beside them. */
const all = path.join(import.meta.dirname, '../../../shared/golden');

/** Name and folder of those cases that are there. */
export function casesFound(names: readonly string[]): (readonly [name: string, dir: string])[] {
  return names.flatMap((name) => {
    const dir = [committed, all].map((root) => path.join(root, name)).find((each) => existsSync(each));
    return dir === undefined ? [] : [[name, dir] as const];
  });
}
