/** The browser shell: one WebSocket to the host that served the page, and uploads over HTTP. */
import { z } from 'zod';
import { toErrorInfo, UserError } from '#core/contract/errors.ts';
import { ErrorInfoSchema, type Result } from '#core/contract/result.ts';
import { type Connection, Listeners, type RegisteredFile, type Transport } from './transport.ts';

const Message = z.union([
  z.object({ id: z.int(), ok: z.literal(true), value: z.unknown() }),
  z.object({ id: z.int(), ok: z.literal(false), error: ErrorInfoSchema }),
  z.object({ push: z.string(), payload: z.unknown() }),
]);
const Uploaded = z.object({ handle: z.string(), name: z.string() });

/** Waits between attempts to reconnect, in milliseconds; the last one repeats. */
const RETRY_MS = [250, 500, 1000, 2000, 4000, 5000] as const;
const TOKEN_KEY = 'condenser.token';

/**
 * Takes the access token out of the page's address, where a history or a screenshot would keep it.
 * It stays in the tab's session storage, so that a reload works.
 */
export function takeToken(): string {
  const given = /^#(?:t|token)=([\w-]{16,})$/.exec(location.hash)?.[1];
  if (given !== undefined) {
    sessionStorage.setItem(TOKEN_KEY, given);
    history.replaceState(null, '', `${location.pathname}${location.search}`);
  }
  return sessionStorage.getItem(TOKEN_KEY) ?? '';
}

/** What the transport needs of its surroundings; tests give their own. */
export interface SocketOptions {
  readonly host: string;
  readonly token: string;
  readonly open?: (url: string, protocols: string[]) => WebSocket;
}

type Reply = (result: Result<unknown>) => void;
interface Waiting {
  readonly resolve: Reply;
  readonly reject: (error: Error) => void;
}

/** Reply and notice traffic over one socket that reopens by itself with growing waits. */
export class SocketTransport implements Transport {
  readonly #options: SocketOptions;
  readonly #pushes = new Listeners<[string, unknown]>();
  readonly #changes = new Listeners<[]>();
  readonly #waiting = new Map<number, Waiting>();
  /** Requests made before the socket opened. */
  #queue: string[] = [];
  #connection: Connection = { state: 'connecting', sinceMs: Date.now() };
  #socket: WebSocket | undefined;
  #nextId = 1;
  #attempts = 0;
  #everOpen = false;

  constructor(options: SocketOptions) {
    this.#options = options;
    this.#connect();
  }

  call(name: string, input: unknown): Promise<Result<unknown>> {
    if (this.#connection.error !== undefined) {
      return Promise.resolve({ ok: false, error: this.#connection.error });
    }
    const id = this.#nextId++;
    const text = JSON.stringify({ id, method: name, input: input ?? null });
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(text);
      else this.#queue.push(text);
    });
  }

  onPush(listener: (name: string, payload: unknown) => void): () => void {
    return this.#pushes.add(listener);
  }

  connection(): Connection {
    return this.#connection;
  }

  onConnection(listener: () => void): () => void {
    return this.#changes.add(listener);
  }

  async register(file: File): Promise<Result<RegisteredFile>> {
    try {
      const reply = await fetch(`./upload?name=${encodeURIComponent(file.name)}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${this.#options.token}` },
        body: file,
      }).catch((cause: unknown) => {
        // A browser gives a folder as a file that cannot be read, and does not say why.
        throw new UserError(
          'upload/not-sent',
          `${file.name} could not be read, or not be sent to the host`,
          'Of a folder type the path. A file that was moved or changed has to be chosen again.',
          { cause },
        );
      });
      const body: unknown = await reply.json();
      if (!reply.ok) {
        const parsed = ErrorInfoSchema.safeParse(body);
        throw new UserError(
          parsed.data?.code ?? 'upload/refused',
          parsed.data?.message ?? `the host refused ${file.name} (HTTP ${reply.status})`,
          parsed.data?.hint,
        );
      }
      return { ok: true, value: Uploaded.parse(body) };
    } catch (error) {
      return { ok: false, error: toErrorInfo(error) };
    }
  }

  #set(connection: Connection): void {
    this.#connection = connection;
    this.#changes.emit();
  }

  #connect(): void {
    const { host, token } = this.#options;
    const protocols = ['condenser.1', `condenser.t.${token}`];
    const open = this.#options.open ?? ((url: string, names: string[]) => new WebSocket(url, names));
    const socket = open(`ws://${host}/ws`, protocols);
    this.#socket = socket;
    socket.addEventListener('open', () => {
      this.#attempts = 0;
      this.#everOpen = true;
      this.#set({ state: 'open', sinceMs: Date.now() });
      for (const text of this.#queue.splice(0)) socket.send(text);
    });
    socket.addEventListener('message', (message: MessageEvent<unknown>) => this.#receive(message.data));
    socket.addEventListener('close', () => this.#closed());
  }

  #receive(data: unknown): void {
    const message = Message.parse(JSON.parse(String(data)));
    if ('push' in message) {
      this.#pushes.emit(message.push, message.payload);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    waiting?.resolve(message.ok ? { ok: true, value: message.value } : { ok: false, error: message.error });
  }

  #closed(): void {
    const lost = new Error('the connection to the host was lost before it answered');
    // Requests still in the queue were never sent: they wait for the next connection.
    const unsent = new Set(this.#queue.map((text) => z.object({ id: z.int() }).parse(JSON.parse(text)).id));
    for (const [id, waiting] of this.#waiting) {
      if (unsent.has(id)) continue;
      this.#waiting.delete(id);
      waiting.reject(lost);
    }
    if (this.#connection.state !== 'closed') this.#set({ state: 'closed', sinceMs: Date.now() });
    if (!this.#everOpen && this.#attempts >= RETRY_MS.length) {
      const error = {
        code: 'connection/refused',
        message: 'the host does not accept this page',
        hint: 'Open the address that `condenser serve` prints; its token is valid for one start of the host.',
      };
      this.#set({ ...this.#connection, error });
      this.#queue = [];
      for (const waiting of this.#waiting.values()) waiting.resolve({ ok: false, error });
      this.#waiting.clear();
      return;
    }
    const wait = RETRY_MS[Math.min(this.#attempts, RETRY_MS.length - 1)] ?? 5000;
    this.#attempts += 1;
    setTimeout(() => this.#connect(), wait);
  }
}
