/** An in-memory host for component tests: answers from the handlers given, and refuses every other call by name. */
import { UserError } from '#core/contract/errors.ts';
import { findCall, type HostHandlers, type PushName, type PushPayload } from '#core/contract/host-api.ts';
import { resultOf } from '#core/contract/result.ts';
import { type Connection, Listeners, type RegisteredFile, type Transport } from './transport.ts';

/** A transport without a host behind it. */
export class FakeHost implements Transport {
  /** Every call received, in order. */
  readonly calls: { readonly name: string; readonly input: unknown }[] = [];
  readonly #handlers: Partial<HostHandlers>;
  readonly #pushes = new Listeners<[string, unknown]>();
  readonly #changes = new Listeners<[]>();
  #connection: Connection = { state: 'open', sinceMs: 0 };

  constructor(handlers: Partial<HostHandlers>) {
    this.#handlers = handlers;
  }

  call(name: string, input: unknown) {
    this.calls.push({ name, input });
    return resultOf<unknown>(() => {
      const entry = findCall(name);
      const handler = (this.#handlers as Record<string, ((input: unknown) => unknown) | undefined>)[name];
      if (entry === undefined || handler === undefined) {
        throw new UserError('fake/no-handler', `the fake host has no handler for ${name}`);
      }
      return handler(entry.input.parse(input));
    });
  }

  /** Sends notice `name` to the page. */
  push<N extends PushName>(name: N, payload: PushPayload<N>): void {
    this.#pushes.emit(name, payload);
  }

  /** Changes the connection's state. */
  setConnection(connection: Connection): void {
    this.#connection = connection;
    this.#changes.emit();
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

  register(file: File) {
    this.calls.push({ name: 'register', input: file.name });
    return resultOf<RegisteredFile>(() => ({ handle: `file_${this.calls.length}`, name: file.name }));
  }
}
