/** What the client needs from a way to reach the host; one implementation for each shell and one in memory for tests. */
import type { ErrorInfo } from '#core/contract/errors.ts';
import type { Result } from '#core/contract/result.ts';

/** Whether replies can arrive now, and since when (milliseconds since the epoch). */
export interface Connection {
  readonly state: 'connecting' | 'open' | 'closed';
  readonly sinceMs: number;
  /** Set when reconnecting cannot help: the host refused the token. */
  readonly error?: ErrorInfo;
}

/** A file the host knows, by an opaque name. */
export interface RegisteredFile {
  readonly handle: string;
  readonly name: string;
}

/** A way to reach the host. */
export interface Transport {
  /** Sends one request; rejects only when no reply can come (the connection was lost). */
  call(name: string, input: unknown): Promise<Result<unknown>>;
  /** Calls `listener` for every notice from the host; returns the function that ends it. */
  onPush(listener: (name: string, payload: unknown) => void): () => void;
  /** The connection now; the same object until it changes. */
  connection(): Connection;
  /** Calls `listener` after every change of `connection()`. */
  onConnection(listener: () => void): () => void;
  /** Makes a file picked or dropped in the page known to the host. */
  register(file: File): Promise<Result<RegisteredFile>>;
}

/** Listeners with a way to leave; the shared part of every transport. */
export class Listeners<A extends readonly unknown[]> {
  readonly #all = new Set<(...args: A) => void>();

  add(listener: (...args: A) => void): () => void {
    this.#all.add(listener);
    return () => {
      this.#all.delete(listener);
    };
  }

  get size(): number {
    return this.#all.size;
  }

  emit(...args: A): void {
    for (const listener of this.#all) listener(...args);
  }
}
