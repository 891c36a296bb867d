/** The Chromium that comes as an npm package, in archives. */
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type * as Chromium from '@sparticuz/chromium';

/**
 * Calls `work` with the package while it unpacks into `folder`: it unpacks below TMPDIR, and takes whatever it finds in a
 * folder for its own, of whatever version.
 */
export async function unpackingInto<T>(
  folder: string,
  work: (chromium: typeof Chromium, archive: (name: string) => string) => Promise<T>,
): Promise<T> {
  mkdirSync(folder, { recursive: true });
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = folder;
  try {
    const entry = createRequire(import.meta.url).resolve('@sparticuz/chromium');
    const bin = path.join(path.dirname(entry), '../bin');
    return await work(await import('@sparticuz/chromium'), (name) => path.join(bin, name));
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  }
}
