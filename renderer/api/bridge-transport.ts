/** The desktop shell: requests go over the bridge that the preload script exposes. */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { type Result, resultOf } from '#core/contract/result.ts';
import type { Connection, RegisteredFile, Transport } from './transport.ts';

/** What the preload script puts on `window.condenser`. */
export interface Bridge {
  call(name: string, input: unknown): Promise<Result<unknown>>;
  onPush(listener: (name: string, payload: unknown) => void): () => void;
  /** Path of a dropped or picked file; empty for one that is not on disk. */
  pathForFile(file: File): string;
}

declare global {
  interface Window {
    readonly condenser?: Bridge;
  }
}

const Registered = z.object({ handle: z.string(), name: z.string() });

/** A transport over `bridge`; a process channel does not disconnect, so it is open from the start. */
export function bridgeTransport(bridge: Bridge): Transport {
  const connection: Connection = { state: 'open', sinceMs: Date.now() };
  return {
    call: (name, input) => bridge.call(name, input),
    onPush: (listener) => bridge.onPush(listener),
    connection: () => connection,
    onConnection: () => () => undefined,
    register: (file) =>
      resultOf<RegisteredFile>(async () => {
        const path = bridge.pathForFile(file);
        if (path === '') {
          throw new UserError(
            'files/not-on-disk',
            `${file.name} is not a file on this machine`,
            'Save it to disk first.',
          );
        }
        const reply = await bridge.call('files.register', { path });
        if (!reply.ok) throw new UserError(reply.error.code, reply.error.message, reply.error.hint);
        return Registered.parse(reply.value);
      }),
  };
}
