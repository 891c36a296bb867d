/** Finds a Chromium to test in, without a download: the system's, Playwright's, or the one from npm. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium, type LaunchOptions } from '@playwright/test';

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
  mkdirSync(folder, { recursive: true });
  // The package unpacks below TMPDIR and takes any /tmp/chromium that is there already, of whatever version.
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = folder;
  try {
    const { default: packaged, inflate } = await import('@sparticuz/chromium');
    const executablePath = await packaged.executablePath();
    const libraries = path.join(folder, 'al2023/lib');
    if (!existsSync(path.join(libraries, 'libnss3.so'))) {
      // By itself it unpacks these libraries on AWS only.
      const entry = createRequire(import.meta.url).resolve('@sparticuz/chromium');
      await inflate(path.join(path.dirname(entry), '../bin/al2023.tar.br'));
    }
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
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  }
}

/** The environment without undefined values. */
export function definedEnv(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
