/** The calling side of a link, to test the serving side with; the page has a client of its own, which reconnects. */
import { z } from 'zod';
import { ErrorInfoSchema, type Result } from '#core/contract/result.ts';
import type { Link, Unsubscribe } from './link.ts';

const Reply = z.discriminatedUnion('ok', [
  z.object({ id: z.int(), ok: z.literal(true), value: z.unknown() }),
  z.object({ id: z.int(), ok: z.literal(false), error: ErrorInfoSchema }),
]);
const Push = z.object({ push: z.string(), payload: z.unknown() });

/** The calling side of a link. */
export interface Client {
  /** Resolves with the reply; a closed link is the error `link/closed`, an aborted `signal` the error `link/cancelled`. */
  call(name: string, input: unknown, signal?: AbortSignal): Promise<Result<unknown>>;
  onPush(listener: (channel: string, payload: unknown) => void): Unsubscribe;
}

/** Calls the service at the other end of `link`. */
export function connectLink(link: Link): Client {
  const waiting = new Map<number, (result: Result<unknown>) => void>();
  const listeners = new Set<(channel: string, payload: unknown) => void>();
  let lastId = 0;

  const settle = (id: number, result: Result<unknown>): void => {
    waiting.get(id)?.(result);
    waiting.delete(id);
  };

  link.onMessage((message) => {
    const push = Push.safeParse(message);
    if (push.success) {
      for (const listener of listeners) listener(push.data.push, push.data.payload);
      return;
    }
    const reply = Reply.safeParse(message);
    if (!reply.success) return;
    const { id, ...result } = reply.data;
    settle(id, result);
  });
  link.onClose(() => {
    for (const id of waiting.keys()) settle(id, refusal('link/closed', 'the connection is closed'));
  });

  return {
    call: (name, input, signal) => {
      if (link.closed) return Promise.resolve(refusal('link/closed', 'the connection is closed'));
      const id = ++lastId;
      return new Promise((resolve) => {
        waiting.set(id, resolve);
        signal?.addEventListener(
          'abort',
          () => {
            if (!waiting.has(id)) return;
            link.send({ cancel: id });
            settle(id, refusal('link/cancelled', `${name} was cancelled`));
          },
          { once: true },
        );
        link.send({ id, method: name, input });
      });
    },
    onPush: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

function refusal(code: string, message: string): Result<never> {
  return { ok: false, error: { code, message } };
}
