import { defineConfig } from '@playwright/test';

/** End-to-end specs; the shell they drive (Electron, or Chromium on the Node host) is chosen in `e2e/shell.ts`. */
export default defineConfig({
  testDir: 'e2e',
  outputDir: 'test-results',
  timeout: 120_000,
  expect: { timeout: 15_000 },
  // A training worker uses every core, so specs that train take turns.
  workers: 1,
  forbidOnly: process.env['CI'] !== undefined,
  reporter: [['list'], ['json', { outputFile: 'test-results/playwright.json' }]],
  use: { trace: 'retain-on-failure' },
});
