/** A link over the channel between a Node process and its parent. */
import { createLink, type Link } from './link.ts';

/** What a parent's `ChildProcess` and a child's own `process` have in common. */
export interface MessageProcess {
  readonly connected: boolean;
  send?(message: unknown, callback: (error: Error | null) => void): boolean;
  disconnect?(): void;
  on(event: 'message', listener: (message: unknown) => void): unknown;
  on(event: 'disconnect', listener: () => void): unknown;
}

/** A link that can wait until what was sent has left the process. */
export interface ProcessLink extends Link {
  /** Resolves when every message is written or the other side is gone, and after `limitMs` at the latest. */
  flush(limitMs: number): Promise<void>;
}

/** Wraps one end of a process channel (started with `serialization: 'advanced'`, so that messages are structured clones). */
export function processLink(process: MessageProcess): ProcessLink {
  let waiting = 0;
  let whenDrained: (() => void) | undefined;
  const end = createLink({
    send: (message) => {
      if (!process.connected || process.send === undefined) return;
      waiting++;
      // An error here means that the other side is gone; 'disconnect' follows and closes the link.
      process.send(message, () => {
        waiting--;
        if (waiting === 0) whenDrained?.();
      });
    },
    congested: () => waiting > 64,
    close: () => {
      if (process.connected) process.disconnect?.();
    },
  });
  process.on('message', (message) => end.receive(message));
  process.on('disconnect', () => {
    end.closed();
    whenDrained?.();
  });
  if (!process.connected) end.closed();
  // `congested` and `closed` are getters: a spread would freeze them.
  return Object.assign(end.link, {
    flush: (limitMs: number) =>
      new Promise<void>((resolve) => {
        if (waiting === 0 || end.link.closed) {
          resolve();
          return;
        }
        whenDrained = resolve;
        setTimeout(resolve, limitMs);
      }),
  });
}
