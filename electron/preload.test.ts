import { expect, test, vi } from 'vitest';
import { CALL_CHANNEL, PUSH_CHANNEL } from './channels.ts';
import { exposed, invoked, ipcRenderer } from './testing/electron-stub.ts';

await import('./preload.ts');
type Bridge = {
  call(name: string, input: unknown): Promise<unknown>;
  onPush(listener: (name: string, payload: unknown) => void): () => void;
  pathForFile(file: { name: string }): string;
};
const bridge = exposed.get('condenser') as unknown as Bridge;

test('the page gets three functions and nothing of ipcRenderer', () => {
  expect([...exposed.keys()]).toEqual(['condenser']);
  expect(Object.keys(bridge)).toEqual(['call', 'onPush', 'pathForFile']);
});

test('calls go out on one fixed channel', async () => {
  await bridge.call('runs.list', undefined);
  expect(invoked).toEqual([[CALL_CHANNEL, 'runs.list', undefined]]);
});

test('a listener sees name and payload, never the event, until it leaves', () => {
  const listener = vi.fn<(...args: unknown[]) => void>();
  const leave = bridge.onPush(listener);
  ipcRenderer.emit(PUSH_CHANNEL, { sender: 'secret' }, 'runs.changed', { id: 'r' });
  leave();
  ipcRenderer.emit(PUSH_CHANNEL, { sender: 'secret' }, 'runs.changed', { id: 'r' });
  expect(listener.mock.calls).toEqual([['runs.changed', { id: 'r' }]]);
});

test('a dropped file is known by its path', () => {
  expect(bridge.pathForFile({ name: 'a.jsonl' })).toBe('/dropped/a.jsonl');
});
