/** How long a person waits, printed for whoever reads the log: a busy machine must not fail the build. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { chromium } from '@playwright/test';
import { chromiumOptions } from './chromium.ts';
import { card } from './pages/navigation.ts';
import { addSample, trainSmall } from './pages/seed-runs.ts';
import { widenRouting } from './pages/wide-routing.ts';
import { expect, shellKind, startHost, stopHost, test } from './shell.ts';

test('from the start of the host to a page that can be used', async () => {
  const home = mkdtempSync(path.join(os.tmpdir(), 'condenser-e2e-'));
  const browser = await chromium.launch(await chromiumOptions());
  try {
    const page = await browser.newPage();
    const begun = performance.now();
    const { host, url } = await startHost(home);
    try {
      const listening = performance.now();
      await page.goto(url);
      await expect(page.getByRole('button', { name: 'Try the sample' })).toBeEnabled();
      await expect(page.getByText('No run yet')).toBeVisible();
      const usable = performance.now();
      console.log(
        `start: host listens after ${ms(listening - begun)}, page can be used after ${ms(usable - begun)}`,
      );
    } finally {
      await stopHost(host);
    }
  } finally {
    await browser.close();
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  }
});

test('a new picture of 48 × 128 experts', async ({ workbench: { page } }) => {
  test.skip(shellKind === 'electron', 'the page talks to the host over a bridge there, not over a socket');
  await addSample(page);
  await trainSmall(page, { name: 'Wide', method: { name: 'full' } });
  await widenRouting(page, 48, 128);
  await page.reload();
  await expect(page.getByRole('grid', { name: /48 layers by 128 experts/ })).toBeVisible();
  const quantities = card(page, /^(Expert load|Gate mass)$/).getByRole('group', { name: 'Quantity' });
  const times = await quantities.evaluate(async (group) => {
    const [load, mass] = [...group.querySelectorAll('button')];
    const taken: { script: number; frame: number }[] = [];
    for (let i = 0; i < 20; i += 1) {
      const begun = performance.now();
      (i % 2 === 0 ? mass : load)?.click();
      // React renders and draws in a microtask after the click.
      await Promise.resolve();
      const script = performance.now() - begun;
      await new Promise<void>((resolve) => {
        requestAnimationFrame(() => void setTimeout(resolve));
      });
      taken.push({ script, frame: performance.now() - begun });
    }
    return taken;
  });
  await expect(page.getByRole('heading', { name: 'Expert load' })).toBeVisible();
  const median = (key: 'script' | 'frame') =>
    times.map((time) => time[key]).toSorted((a, b) => a - b)[10] ?? 0;
  console.log(`heat map 48 × 128: ${ms(median('script'))} of script, on screen after ${ms(median('frame'))}`);
  expect(median('script')).toBeGreaterThan(0);
});

const ms = (value: number) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
