/** Draws `resources/build/icon.svg` as the PNG files that the packager reads: `node scripts/render-icons.ts`. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { chromium } from '@playwright/test';
import { chromiumOptions } from '../e2e/chromium.ts';

const folder = path.resolve(import.meta.dirname, '../resources/build');
const svg = readFileSync(path.join(folder, 'icon.svg'), 'utf8');
/** Side in pixels → file name. electron-builder makes .ico and .icns from the largest. */
const files = { 1024: 'icon.png', 512: 'icons/512x512.png', 256: 'icons/256x256.png' };

const browser = await chromium.launch(await chromiumOptions());
try {
  for (const [side, name] of Object.entries(files)) {
    const page = await browser.newPage({ viewport: { width: Number(side), height: Number(side) } });
    await page.setContent(`<style>body { margin: 0 } svg { display: block; width: 100vw }</style>${svg}`);
    await page.screenshot({ path: path.join(folder, name), omitBackground: true });
    await page.close();
  }
} finally {
  await browser.close();
}
