import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import { workerSpawner } from './spawn-worker.ts';
import { forks } from './testing/electron-stub.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'spawn-worker-'));
afterAll(() => rmSync(folder, { recursive: true }));
/** Answers each message with what it got; `end` makes it complain and leave. */
const echo = path.join(folder, 'echo.mjs');
writeFileSync(
  echo,
  `process.on('message', (message) => {
     if (message.type !== 'end') return process.send({ echo: message }, () => {});
     console.error('out of coffee');
     process.exitCode = 5;
     process.disconnect();
   });`,
);
const errorLog = path.join(folder, 'worker.log');
const utilityEntry = path.join(import.meta.dirname, 'utility-entry.ts');
const withNode = workerSpawner({ node: process.execPath, workerScript: echo, utilityEntry });
const withoutNode = workerSpawner({ node: undefined, workerScript: echo, utilityEntry });
const nextMessage = (link: { onMessage(listener: (message: unknown) => void): unknown }) =>
  new Promise<unknown>((resolve) => void link.onMessage(resolve));

test('plain Node: messages are structured clones, the exit code and the last words are known', async () => {
  const worker = withNode({ detached: false, errorLog });
  const message = { type: 'start', values: new Float32Array([1, 2]) };
  const answer = nextMessage(worker.link);
  worker.link.send(message);
  expect(await answer).toEqual({ echo: message });
  worker.link.send({ type: 'end' });
  expect(await worker.exited).toEqual({ code: 5, signal: null });
  expect(worker.errorTail()).toBe('out of coffee\n');
  expect(worker.link.closed).toBe(true);
});

test('utility process: the link carries messages both ways and closes with it', async () => {
  const worker = withoutNode({ detached: false, errorLog });
  const child = forks.at(-1);
  expect(child).toMatchObject({ entry: utilityEntry, args: [echo] });
  const answer = nextMessage(worker.link);
  worker.link.send({ type: 'hello' });
  expect(child?.received).toEqual([{ type: 'hello' }]);
  child?.emit('message', { type: 'ready' });
  expect(await answer).toEqual({ type: 'ready' });
  child?.stderr.write('last words');
  await vi.waitFor(() => expect(worker.errorTail()).toBe('last words'));
  worker.kill();
  expect(await worker.exited).toEqual({ code: 143, signal: null });
  expect(worker.link.closed).toBe(true);
});

test('utility process: a detached worker is refused', () => {
  expect(() => withoutNode({ detached: true, errorLog })).toThrow(UserError);
});

test('utility process: the entry gives the program a process channel', async () => {
  // A Node child stands for the utility process: its own channel becomes `process.parentPort`.
  const port = `
    import { EventEmitter } from 'node:events';
    const { send } = process;
    process.send = undefined;
    process.parentPort = Object.assign(new EventEmitter(), { postMessage: (m) => send.call(process, m) });
    const emit = process.emit;
    process.emit = (name, ...rest) =>
      name === 'message' && rest.length === 2 && rest[0]?.fromParent
        ? process.parentPort.emit('message', { data: rest[0].fromParent })
        : emit.call(process, name, ...rest);
    process.on('message', () => {});
  `;
  const preamble = `data:text/javascript,${encodeURIComponent(port)}`;
  const child = spawn(process.execPath, ['--import', preamble, utilityEntry, echo], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
  });
  try {
    const answer = once(child, 'message');
    child.send({ fromParent: { type: 'hello' } });
    expect((await answer)[0]).toEqual({ echo: { type: 'hello' } });
  } finally {
    child.kill('SIGKILL');
  }
});
