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
  let lastMs = -Infinity;

  const attempt = (): void => {
    if (waiting === undefined) return;
    const { value } = waiting;
    waiting = undefined;
    lastMs = Date.now();
    if (!send(value)) waiting ??= { value };
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = undefined;
      attempt();
    }, intervalMs);
  };

  return {
    push: (value) => {
      waiting = { value };
      // The clock, not only the timer: where computations block the event loop, timers come late.
      if (timer === undefined || Date.now() - lastMs >= intervalMs) attempt();
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
