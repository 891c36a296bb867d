/** Finds a Chromium to test in, without a download: the system's, Playwright's, or the one from npm. */
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { chromium, type LaunchOptions } from '@playwright/test';
import { unpackingInto } from '../scripts/npm-chromium.ts';

const root = path.resolve(import.meta.dirname, '..');
const quiet = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--font-render-hinting=none',
];

/**
 * Launch options for the first Chromium found: `CHROMIUM_PATH`, Debian's, Chrome's, Playwright's own, else the one
 * in the package `@sparticuz/chromium` (Linux x64). `E2E_CHROME=npm` takes the last one at once.
 */
export async function chromiumOptions(): Promise<LaunchOptions> {
  if (process.env['E2E_CHROME'] === 'npm') return packagedChromium();
  const candidates = [
    process.env['CHROMIUM_PATH'],
    '/usr/bin/chromium',
    '/usr/bin/google-chrome',
    chromium.executablePath(),
  ];
  const found = candidates.find((file) => file !== undefined && existsSync(file));
  return found === undefined ? packagedChromium() : { executablePath: found, args: quiet };
}

/** Unpacks the npm Chromium with the libraries and fonts that a bare machine lacks. */
async function packagedChromium(): Promise<LaunchOptions> {
  const folder = path.join(root, 'node_modules/.cache/npm-chromium');
  return unpackingInto(folder, async ({ default: packaged, inflate }, archive) => {
    const executablePath = await packaged.executablePath();
    const libraries = path.join(folder, 'al2023/lib');
    // By itself it unpacks these libraries on AWS only.
    if (!existsSync(path.join(libraries, 'libnss3.so'))) await inflate(archive('al2023.tar.br'));
    // Its own fonts.conf names /tmp/fonts; elsewhere all text would be invisible.
    const fonts = path.join(folder, 'fonts.conf');
    const folders = [path.join(folder, 'fonts'), '/usr/share/fonts'].map((dir) => `<dir>${dir}</dir>`);
    const cache = `<cachedir>${path.join(folder, 'font-cache')}</cachedir>`;
    const head = '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">';
    writeFileSync(fonts, `${head}<fontconfig>${folders.join('')}${cache}</fontconfig>`);
    return {
      executablePath,
      args: [...quiet, '--no-zygote'],
      env: { ...definedEnv(), LD_LIBRARY_PATH: libraries, FONTCONFIG_FILE: fonts },
    };
  });
}

/** The environment without undefined values. */
export function definedEnv(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
