/** Runs wait for each other: a training run uses every core, so two at a time would only slow each other down. */

/** First in, first out. */
export interface RunQueue {
  /** Starts `id` when its turn comes. */
  add(id: string): void;
  /** Takes `id` out before its turn; false when it was not waiting. */
  remove(id: string): boolean;
  /** Counts work that the queue did not start (an adopted run) until `ended` settles. */
  occupy(ended: Promise<unknown>): void;
  /** Starts nothing more. */
  close(): void;
}

/**
 * Runs `start` for each id in turn, `atATime` at once. `start` resolves when the run has ended; it must not reject.
 */
export function createRunQueue(start: (id: string) => Promise<unknown>, atATime = 1): RunQueue {
  const waiting: string[] = [];
  let active = 0;
  let closed = false;

  const occupy = (ended: Promise<unknown>): void => {
    active++;
    void ended.finally(() => {
      active--;
      advance();
    });
  };
  const advance = (): void => {
    if (closed || active >= atATime) return;
    const id = waiting.shift();
    if (id === undefined) return;
    occupy(start(id));
    advance();
  };

  return {
    add: (id) => {
      waiting.push(id);
      advance();
    },
    remove: (id) => {
      const at = waiting.indexOf(id);
      if (at >= 0) waiting.splice(at, 1);
      return at >= 0;
    },
    occupy,
    close: () => {
      closed = true;
    },
  };
}
