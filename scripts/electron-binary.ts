/** Where Electron's binary is, without `require('electron')`, which would start a download. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

/** Folder of the installed npm package. */
export const electronPackage = path.dirname(createRequire(import.meta.url).resolve('electron/package.json'));

/** Path of the Electron executable on disk, or undefined when it was never downloaded. */
export function electronBinary(): string | undefined {
  const note = path.join(electronPackage, 'path.txt');
  const name = existsSync(note) ? readFileSync(note, 'utf8') : undefined;
  const folder = process.env['ELECTRON_OVERRIDE_DIST_PATH'];
  if (folder === undefined && name === undefined) return undefined;
  const file = path.join(folder ?? path.join(electronPackage, 'dist'), name ?? 'electron');
  return existsSync(file) ? file : undefined;
}
