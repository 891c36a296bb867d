/** Bounds the rate of notices of which only the newest matters. */

/** A sender whose calls are merged in time. */
export interface Coalescer<T> {
  /** Hands over the newest value. */
  push(value: T): void;
  /** Sends what waits, now. */
  flush(): void;
  /** Forgets what waits. */
  cancel(): void;
}

/**
 * Sends the first value at once and then at most one value each `intervalMs`, always the newest.
 * `send` returns false to say "not now" (a congested link): the value then waits for the next interval.
 */
export function coalesce<T>(intervalMs: number, send: (value: T) => boolean): Coalescer<T> {
  let waiting: { readonly value: T } | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const attempt = (): void => {
    if (waiting === undefined) return;
    const { value } = waiting;
    waiting = undefined;
    if (!send(value)) waiting ??= { value };
    timer = setTimeout(() => {
      timer = undefined;
      attempt();
    }, intervalMs);
  };

  return {
    push: (value) => {
      waiting = { value };
      if (timer === undefined) attempt();
    },
    flush: () => {
      clearTimeout(timer);
      timer = undefined;
      attempt();
    },
    cancel: () => {
      clearTimeout(timer);
      timer = undefined;
      waiting = undefined;
    },
  };
}
