/** Starts the workbench: in Electron where that can run, else as a page that the Node host serves. */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, statSync } from 'node:fs';
import path from 'node:path';
import { electronBinary, electronPackage } from './electron-binary.ts';
import { runInForeground } from './foreground.ts';

const root = path.resolve(import.meta.dirname, '..');
const DOWNLOAD_MS = 600_000;

/**
 * Builds what is out of date, chooses the shell and waits for it; sets the exit code.
 * `--browser` keeps to the Node host, `CONDENSER_NO_DOWNLOAD=1` never fetches Electron; other arguments go to the host.
 */
export async function start(args: readonly string[]): Promise<void> {
  const browser = args.includes('--browser');
  const rest = args.filter((argument) => argument !== '--browser');
  if (!isBuilt())
    run(process.execPath, ['node_modules/vite/bin/vite.js', 'build', '--app', '--logLevel', 'warn']);
  const binary = browser ? undefined : findElectron();
  if (binary === undefined) {
    if (!browser) console.log('Serving the workbench to a browser instead: open the address below.');
    await runToEnd(process.execPath, ['worker/headless/cli.ts', 'serve', ...rest]);
  } else {
    // Chromium's sandbox refuses to run as root.
    const asRoot = process.platform === 'linux' && process.getuid?.() === 0;
    await runToEnd(binary, [...(asRoot ? ['--no-sandbox'] : []), root, ...rest]);
  }
}

/** The Electron executable if it can open a window here; downloads it once when it is missing. */
function findElectron(): string | undefined {
  const display = process.env['DISPLAY'] ?? process.env['WAYLAND_DISPLAY'];
  if (process.platform === 'linux' && !display) {
    console.log('There is no display (DISPLAY, WAYLAND_DISPLAY).');
    return undefined;
  }
  const present = electronBinary();
  if (present !== undefined) return present;
  if (process.env['CONDENSER_NO_DOWNLOAD'] === '1') {
    console.log('Electron is not on this machine.');
    return undefined;
  }
  console.log('Electron is not on this machine yet: fetching it once (about 120 MB).');
  spawnSync(process.execPath, [path.join(electronPackage, 'install.js')], {
    stdio: ['ignore', 'inherit', 'ignore'],
    timeout: DOWNLOAD_MS,
  });
  const fetched = electronBinary();
  if (fetched === undefined) console.log('Electron could not be fetched.');
  return fetched;
}

/** Whether every bundle is newer than every source. */
function isBuilt(): boolean {
  const bundles = [
    'out/renderer/index.html',
    'out/main/index.js',
    'out/preload/preload.cjs',
    'out/worker/main.js',
  ];
  if (!bundles.every((file) => existsSync(path.join(root, file)))) return false;
  const built = Math.min(...bundles.map((file) => statSync(path.join(root, file)).mtimeMs));
  const sources = globSync('{core,electron,renderer,worker}/**/*.{ts,tsx,css,html,wasm}', { cwd: root });
  return sources.every((file) => statSync(path.join(root, file)).mtimeMs < built);
}

function run(command: string, args: readonly string[]): void {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

/** Waits for the shell; its exit code becomes ours. */
async function runToEnd(command: string, args: readonly string[]): Promise<void> {
  // The desktop shell trains in this Node.
  const env = { ...process.env, CONDENSER_NODE: process.execPath };
  process.exitCode = await runInForeground(command, args, { cwd: root, env });
}
