import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SocketTransport, takeToken } from './socket-transport.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A socket whose other end is the test. */
class FakeSocket extends EventTarget {
  readyState: number = WebSocket.CONNECTING;
  readonly sent: string[] = [];

  send(text: string): void {
    this.sent.push(text);
  }

  open(): void {
    this.readyState = WebSocket.OPEN;
    this.dispatchEvent(new Event('open'));
  }

  close(): void {
    this.readyState = WebSocket.CLOSED;
    this.dispatchEvent(new Event('close'));
  }

  receive(message: unknown): void {
    this.dispatchEvent(new MessageEvent('message', { data: JSON.stringify(message) }));
  }
}

function connected() {
  const sockets: FakeSocket[] = [];
  const opened: [string, string[]][] = [];
  const transport = new SocketTransport({
    host: '127.0.0.1:4000',
    token: 'secret',
    open: (url, protocols) => {
      opened.push([url, protocols]);
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket as unknown as WebSocket;
    },
  });
  const last = () => {
    const socket = sockets.at(-1);
    if (socket === undefined) throw new Error('no socket was opened');
    return socket;
  };
  return { transport, sockets, opened, last };
}

test('the token travels as a subprotocol, and leaves the address', () => {
  expect(connected().opened).toEqual([['ws://127.0.0.1:4000/ws', ['condenser.1', 'condenser.t.secret']]]);
  location.hash = '#token=abcdefghijklmnop_-1';
  expect(takeToken()).toBe('abcdefghijklmnop_-1');
  expect(location.hash).toBe('');
  expect(takeToken()).toBe('abcdefghijklmnop_-1');
});

test('requests wait for the connection; replies find their request in any order', async () => {
  const { transport, last } = connected();
  const first = transport.call('app.info', undefined);
  const second = transport.call('runs.list', null);
  expect(last().sent).toEqual([]);
  last().open();
  expect(last().sent.map((text) => JSON.parse(text) as unknown)).toEqual([
    { id: 1, method: 'app.info', input: null },
    { id: 2, method: 'runs.list', input: null },
  ]);
  last().receive({ id: 2, ok: true, value: [] });
  last().receive({ id: 1, ok: false, error: { code: 'x', message: 'no' } });
  expect(await first).toEqual({ ok: false, error: { code: 'x', message: 'no' } });
  expect(await second).toEqual({ ok: true, value: [] });
});

test('notices reach listeners until they leave', () => {
  const { transport, last } = connected();
  const listener = vi.fn<(name: string, payload: unknown) => void>();
  const leave = transport.onPush(listener);
  last().open();
  last().receive({ push: 'runs.changed', payload: { id: 'run_a' } });
  leave();
  last().receive({ push: 'runs.changed', payload: { id: 'run_b' } });
  expect(listener.mock.calls).toEqual([['runs.changed', { id: 'run_a' }]]);
});

test('a lost connection refuses what was asked and reconnects with growing waits', async () => {
  const { transport, sockets, last } = connected();
  last().open();
  const asked = transport.call('runs.list', null);
  const refused = asked.catch((error: unknown) => String(error));
  last().close();
  expect(await refused).toContain('lost before it answered');
  expect(transport.connection().state).toBe('closed');
  await vi.advanceTimersByTimeAsync(250);
  expect(sockets).toHaveLength(2);
  last().close();
  await vi.advanceTimersByTimeAsync(250);
  expect(sockets).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(250);
  expect(sockets).toHaveLength(3);
  const later = transport.call('runs.list', null);
  last().open();
  last().receive({ id: 2, ok: true, value: 1 });
  expect(await later).toEqual({ ok: true, value: 1 });
  expect(transport.connection().state).toBe('open');
});

test('a page that was never let in says so instead of trying for ever', async () => {
  const { transport, sockets, last } = connected();
  const asked = transport.call('runs.list', null);
  for (let i = 0; i < 8; i++) {
    last().close();
    await vi.advanceTimersByTimeAsync(5000);
  }
  expect(await asked).toMatchObject({ ok: false, error: { code: 'connection/refused' } });
  expect(transport.connection().error?.code).toBe('connection/refused');
  expect(sockets.length).toBeLessThan(9);
  expect(await transport.call('app.info', null)).toMatchObject({ ok: false });
});

test('a folder, which a browser cannot read, is refused in words', async () => {
  const { transport } = connected();
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')));
  const reply = await transport.register(new File([], 'my-model'));
  vi.unstubAllGlobals();
  expect(reply).toMatchObject({
    ok: false,
    error: { code: 'upload/not-sent', message: 'my-model could not be read, or not be sent to the host' },
  });
});
