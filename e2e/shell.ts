/**
 * One fixture, two shells: real Electron when its binary is on disk, else the Node host and Chromium.
 *
 * A test fails on any page error, console error (a content security policy violation prints one) and request that
 * leaves the machine, besides what it asserts itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { _electron, chromium, expect, type Page, test as base } from '@playwright/test';
import { electronBinary } from '../scripts/electron-binary.ts';
import { chromiumOptions, definedEnv } from './chromium.ts';

const root = path.resolve(import.meta.dirname, '..');
const READY_MS = 60_000;
/** A click that waits longer than this waits for something that does not come. */
const ACTION_MS = 20_000;

/** Which shell the specs run in; `E2E_SHELL=node` keeps to the Node host. */
export const shellKind: 'electron' | 'node' =
  process.env['E2E_SHELL'] !== 'node' && electronBinary() !== undefined ? 'electron' : 'node';

/** A running workbench. */
export interface Workbench {
  readonly page: Page;
  readonly kind: 'electron' | 'node';
  /** The data folder: empty at the start, removed at the end. */
  readonly home: string;
}

interface Fixtures {
  readonly workbench: Workbench;
  /** Console errors that the test provokes on purpose. */
  readonly expectedErrors: readonly RegExp[];
}

/** Playwright's `test` with a started workbench. */
export const test = base.extend<Fixtures>({
  expectedErrors: [[], { option: true }],
  workbench: async ({ expectedErrors }, use) => {
    const home = mkdtempSync(path.join(os.tmpdir(), 'condenser-e2e-'));
    const problems: string[] = [];
    try {
      await (shellKind === 'electron' ? inElectron : inChromium)(home, problems, use);
    } finally {
      rmSync(home, { recursive: true, force: true, maxRetries: 5 });
    }
    const unexpected = problems.filter((text) => !expectedErrors.some((pattern) => pattern.test(text)));
    expect(unexpected, 'errors on the page').toEqual([]);
  },
});
export { expect };

type Use = (workbench: Workbench) => Promise<void>;

async function inElectron(home: string, problems: string[], use: Use): Promise<void> {
  // Without executablePath: only then Playwright can hold the application until it listens.
  const app = await _electron.launch({
    cwd: root,
    args: [`--user-data-dir=${path.join(home, 'chromium')}`, root],
    env: { ...definedEnv(), CONDENSER_HOME: home, CONDENSER_NODE: process.execPath },
  });
  try {
    const page = await app.firstWindow();
    watch(page, problems);
    await page.emulateMedia({ reducedMotion: 'reduce' });
    await use({ page, kind: 'electron', home });
  } finally {
    await app.close();
  }
}

async function inChromium(home: string, problems: string[], use: Use): Promise<void> {
  const { host, url } = await startHost(home);
  const browser = await chromium.launch(await chromiumOptions());
  try {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      reducedMotion: 'reduce',
    });
    const page = await context.newPage();
    watch(page, problems);
    await page.goto(url);
    await use({ page, kind: 'node', home });
  } finally {
    await browser.close();
    await stopHost(host);
  }
}

/** Starts the Node host on a free port; resolves with the address it prints when it is ready. */
export async function startHost(home: string): Promise<{ host: ChildProcess; url: string }> {
  const args = ['worker/headless/cli.ts', 'serve', '--port', '0', '--home', home];
  const host = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise<string>((resolve, reject) => {
    let output = '';
    const timer = setTimeout(() => reject(new Error(`the host printed no address: ${output}`)), READY_MS);
    host.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      const address = /http:\/\/127\.0\.0\.1:\d+\/#token=\S+/.exec(output)?.[0];
      if (address === undefined || !output.includes('\n')) return;
      clearTimeout(timer);
      resolve(address);
    });
    host.once('error', reject);
    host.once('exit', (code) => reject(new Error(`the host ended with ${code}: ${output}`)));
  });
  return { host, url };
}

/** Asks the host to end and waits; one that does not within 20 s is a failure. */
export async function stopHost(host: ChildProcess): Promise<void> {
  if (host.exitCode !== null) throw new Error(`the host had already ended with ${host.exitCode}`);
  const ended = new Promise<void>((resolve) => void host.once('exit', () => resolve()));
  host.kill('SIGTERM');
  const timer = setTimeout(() => host.kill('SIGKILL'), 20_000);
  await ended;
  clearTimeout(timer);
  if (host.signalCode === 'SIGKILL') throw new Error('the host did not end within 20 s of SIGTERM');
}

/** Notes everything that must not happen on a page, and lets nothing on it wait for ever. */
function watch(page: Page, problems: string[]): void {
  page.setDefaultTimeout(ACTION_MS);
  page.on('pageerror', (error) => problems.push(`page error: ${error.message}`));
  page.on('crash', () => problems.push('the page crashed'));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(`console: ${message.text()}`);
  });
  page.context().on('request', (request) => refuseOutside(request.url(), problems));
  page.on('websocket', (socket) => refuseOutside(socket.url(), problems));
}

function refuseOutside(url: string, problems: string[]): void {
  const { protocol, hostname } = new URL(url);
  const inside = ['app:', 'data:', 'blob:', 'devtools:'].includes(protocol) || hostname === '127.0.0.1';
  if (!inside) problems.push(`request to ${url}`);
}
