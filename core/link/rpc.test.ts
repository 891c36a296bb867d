import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Result } from '#core/contract/result.ts';
import { createLink, linkPair } from './link.ts';
import { connectLink } from './rpc-client.fixture.ts';
import { serveLink, type Service } from './rpc.ts';

function service(call: Service['call']) {
  const listeners = new Set<(channel: string, payload: unknown) => void>();
  return {
    listeners,
    push: (channel: string, payload: unknown) => {
      for (const listener of listeners) listener(channel, payload);
    },
    service: {
      call,
      onPush: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    } satisfies Service,
  };
}

const never: Service['call'] = () => Promise.withResolvers<Result<unknown>>().promise;
const echo: Service['call'] = (name, input) => Promise.resolve({ ok: true, value: { name, input } });

test('replies go to their requests, whatever their order', async () => {
  const [a, b] = linkPair();
  const wait: Service['call'] = async (_name, input) => {
    await sleep(Number(input));
    return { ok: true, value: input };
  };
  serveLink(a, service(wait).service);
  const client = connectLink(b);
  const order: unknown[] = [];
  await Promise.all(
    [30, 1].map(async (ms) => {
      const result = await client.call('wait', ms);
      order.push(ms);
      expect(result).toEqual({ ok: true, value: ms });
    }),
  );
  expect(order).toEqual([1, 30]);
});

test('errors cross with code, message and hint', async () => {
  const [a, b] = linkPair();
  const failure: Result<never> = { ok: false, error: { code: 'x/y', message: 'no', hint: 'try' } };
  serveLink(a, service(() => Promise.resolve(failure)).service);
  expect(await connectLink(b).call('any', null)).toEqual(failure);
});

test('a cancelled call is aborted on the serving side and sends no reply', async () => {
  const [a, b] = linkPair();
  let aborted = false;
  serveLink(
    a,
    service(async (_name, _input, signal) => {
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve);
      });
      aborted = true;
      return { ok: true, value: null };
    }).service,
  );
  const controller = new AbortController();
  const client = connectLink(b);
  const messages: unknown[] = [];
  b.onMessage((message) => messages.push(message));
  const call = client.call('slow', null, controller.signal);
  await sleep(1);
  controller.abort();
  expect(await call).toMatchObject({ ok: false, error: { code: 'link/cancelled' } });
  await sleep(1);
  expect(aborted).toBe(true);
  expect(messages).toEqual([]);
});

test('a closed link ends what waits, on both sides', async () => {
  const [a, b] = linkPair();
  const { service: served, listeners } = service(never);
  serveLink(a, served);
  const client = connectLink(b);
  const call = client.call('never', null);
  expect(listeners.size).toBe(1);
  a.close();
  expect(await call).toMatchObject({ ok: false, error: { code: 'link/closed' } });
  expect(await client.call('later', null)).toMatchObject({ ok: false, error: { code: 'link/closed' } });
  expect(listeners.size).toBe(0);
});

test('WP5: notices of one run are merged to at most ten a second, the newest one last', async () => {
  const [a, b] = linkPair();
  const { service: served, push } = service(echo);
  serveLink(a, served);
  const steps: number[] = [];
  connectLink(b).onPush((channel, payload) => {
    expect(channel).toBe('runs.advanced');
    const { id, lastStep } = payload as { id: string; lastStep: number };
    if (id === 'run_a') steps.push(lastStep);
  });
  const startMs = Date.now();
  for (let lastStep = 1; lastStep <= 100; lastStep++) {
    push('runs.advanced', { id: 'run_a', lastStep, lastEvent: 0 });
    push('runs.advanced', { id: 'run_b', lastStep, lastEvent: 0 });
    await sleep(5);
  }
  await sleep(250);
  const seconds = (Date.now() - startMs) / 1000;
  expect(steps.length).toBeGreaterThan(1);
  expect(steps.length).toBeLessThanOrEqual(seconds * 10 + 2);
  expect(steps.at(-1)).toBe(100);
});

test('notices wait while the link is congested; replies do not', async () => {
  const sent: unknown[] = [];
  let congested = true;
  const end = createLink({
    send: (message) => sent.push(message),
    congested: () => congested,
    close: () => undefined,
  });
  const { service: served, push } = service(echo);
  serveLink(end.link, served);
  push('runs.changed', { id: 'run_a' });
  end.receive({ id: 1, method: 'app.info', input: null });
  await sleep(150);
  expect(sent).toEqual([{ id: 1, ok: true, value: { name: 'app.info', input: null } }]);
  congested = false;
  await sleep(150);
  expect(sent[1]).toEqual({ push: 'runs.changed', payload: { id: 'run_a' } });
});

test.each([
  ['no object', 'hello'],
  ['no id', { method: 'app.info' }],
  ['a method that is no text', { id: 1, method: { toString: 'x' } }],
])('a message that is %s closes the link', async (_what, message) => {
  const [a, b] = linkPair();
  serveLink(a, service(echo).service);
  b.send(message);
  await sleep(1);
  expect(b.closed).toBe(true);
});

test('a reused id and more than 64 requests at a time are refused', async () => {
  const [a, b] = linkPair();
  serveLink(a, service(never).service);
  const replies: unknown[] = [];
  b.onMessage((message) => replies.push(message));
  for (let id = 0; id <= 64; id++) b.send({ id, method: 'never', input: null });
  b.send({ id: 3, method: 'never', input: null });
  await sleep(1);
  expect(replies).toMatchObject([
    { id: 64, ok: false, error: { code: 'link/refused' } },
    { id: 3, ok: false, error: { code: 'link/refused' } },
  ]);
});
