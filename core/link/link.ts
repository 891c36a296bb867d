/**
 * A message link: the one shape behind WebSockets, Electron ports, process channels and tests.
 *
 * Messages arrive in order and whole. A link makes no promise of delivery after it closes, which is why facts are
 * never sent over one: they are committed to a database, and a link only says how far it goes.
 */

/** Stops a subscription. */
export type Unsubscribe = () => void;

/** One end of a two-way message channel. */
export interface Link {
  /** Sends one message; does nothing once the link is closed. */
  send(message: unknown): void;
  /** Bytes (or messages) that wait on the other side are more than it should be burdened with: drop what may be lost. */
  readonly congested: boolean;
  readonly closed: boolean;
  onMessage(listener: (message: unknown) => void): Unsubscribe;
  /** Called once; at once when the link is closed already. */
  onClose(listener: () => void): Unsubscribe;
  close(): void;
}

/** What a transport has to provide for `createLink`. */
export interface Transport {
  send(message: unknown): void;
  congested?(): boolean;
  close(): void;
}

/** A link, and the two inlets through which its transport reports what happens. */
export interface LinkEnd {
  readonly link: Link;
  receive(message: unknown): void;
  closed(): void;
}

/** Builds a link over `transport`; the transport's owner calls `receive` and `closed`. */
export function createLink(transport: Transport): LinkEnd {
  const messageListeners = new Set<(message: unknown) => void>();
  const closeListeners = new Set<() => void>();
  let closed = false;

  const markClosed = (): void => {
    if (closed) return;
    closed = true;
    messageListeners.clear();
    for (const listener of closeListeners) listener();
    closeListeners.clear();
  };

  return {
    link: {
      send: (message) => {
        if (!closed) transport.send(message);
      },
      get congested() {
        return !closed && (transport.congested?.() ?? false);
      },
      get closed() {
        return closed;
      },
      onMessage: (listener) => {
        messageListeners.add(listener);
        return () => void messageListeners.delete(listener);
      },
      onClose: (listener) => {
        if (closed) {
          listener();
          return () => undefined;
        }
        closeListeners.add(listener);
        return () => void closeListeners.delete(listener);
      },
      close: () => {
        if (closed) return;
        markClosed();
        transport.close();
      },
    },
    receive: (message) => {
      if (!closed) for (const listener of messageListeners) listener(message);
    },
    closed: markClosed,
  };
}

/** Two connected ends in one process. Messages are structured clones and arrive in a later microtask, as on a real channel. */
export function linkPair(): [Link, Link] {
  const ends: [LinkEnd, LinkEnd] = [endOf(() => ends[1]), endOf(() => ends[0])];
  return [ends[0].link, ends[1].link];
}

function endOf(other: () => LinkEnd): LinkEnd {
  return createLink({
    send: (message) => {
      const copy: unknown = structuredClone(message);
      queueMicrotask(() => other().receive(copy));
    },
    close: () => queueMicrotask(() => other().closed()),
  });
}
