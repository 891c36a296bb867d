/** The renderer's view of the host: typed calls that throw `UserError`, typed notices, and the connection's state. */
import { UserError } from '#core/contract/errors.ts';
import type { CallInput, CallName, CallOutput, PushName, PushPayload } from '#core/contract/host-api.ts';
import { bridgeTransport } from './bridge-transport.ts';
import { SocketTransport, takeToken } from './socket-transport.ts';
import type { Connection, RegisteredFile, Transport } from './transport.ts';

/** Typed access to the host. */
export class Client {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /**
   * Calls the host. Inputs are validated by the host, which is the boundary; its replies are typed by the same schema
   * and are not parsed again, since routing records are large.
   * @throws UserError with the host's code, message and hint; `connection/lost` when no reply can come.
   */
  async call<N extends CallName>(name: N, input: CallInput<N>): Promise<CallOutput<N>> {
    const reply = await this.#transport.call(name, input).catch((error: unknown) => {
      throw new UserError(
        'connection/lost',
        error instanceof Error ? error.message : String(error),
        'It is asked again when the connection is back.',
      );
    });
    if (!reply.ok) throw new UserError(reply.error.code, reply.error.message, reply.error.hint);
    return reply.value as CallOutput<N>;
  }

  /** Calls `listener` with each notice `name`; returns the function that ends it. */
  on<N extends PushName>(name: N, listener: (payload: PushPayload<N>) => void): () => void {
    return this.#transport.onPush((pushed, payload) => {
      if (pushed === name) listener(payload as PushPayload<N>);
    });
  }

  /** The connection's state; stable between changes. */
  connection = (): Connection => this.#transport.connection();

  /** Calls `listener` when the connection's state changes. */
  onConnection = (listener: () => void): (() => void) => this.#transport.onConnection(listener);

  /**
   * Makes a picked or dropped file known to the host.
   * @throws UserError as `call` does.
   */
  async register(file: File): Promise<RegisteredFile> {
    const reply = await this.#transport.register(file);
    if (!reply.ok) throw new UserError(reply.error.code, reply.error.message, reply.error.hint);
    return reply.value;
  }
}

/** Connects through the desktop bridge where there is one, else to the host that served the page. */
export function connect(): Client {
  if (window.condenser !== undefined) return new Client(bridgeTransport(window.condenser));
  return new Client(new SocketTransport({ host: location.host, token: takeToken() }));
}
