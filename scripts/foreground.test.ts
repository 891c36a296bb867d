import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';

const script = `
  const { runInForeground } = await import(${JSON.stringify(pathToFileURL(path.join(import.meta.dirname, 'foreground.ts')).href)});
  const host = "process.on('SIGTERM', () => { console.log('saved'); process.exit(3); }); console.log('serving'); setInterval(() => {}, 1000);";
  process.exitCode = await runInForeground(process.execPath, ['-e', host]);
  console.log('code', process.exitCode);
`;

test.skipIf(process.platform === 'win32').each([
  ['the shell that npm started', '"$NODE" --input-type=module -e "$SCRIPT"; exit'],
  ['the process itself', 'exec "$NODE" --input-type=module -e "$SCRIPT"'],
])('the program ends, and saves first, when a signal reaches %s', async (_what, line) => {
  const shell = spawn('/bin/sh', ['-c', line], {
    env: { NODE: process.execPath, SCRIPT: script, npm_lifecycle_event: 'start' },
    stdio: ['ignore', 'pipe', 'inherit'],
    // A group of its own, so that nothing outlives a test that fails.
    detached: true,
  });
  onTestFinished(() => {
    if (!shell.stdout.closed) process.kill(-(shell.pid ?? NaN), 'SIGKILL');
  });
  let said = '';
  shell.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
    if (said === 'serving\n') shell.kill('SIGTERM');
  });
  // When the last process that could write to it is gone.
  await once(shell.stdout, 'close');
  expect(said).toBe('serving\nsaved\ncode 3\n');
});
