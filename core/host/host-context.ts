/** What every service of the host shares. */
import type { PushName, PushPayload } from '#core/contract/host-api.ts';
import type { AppDb, RunRow } from '#core/store/index.ts';
import type { HostPorts } from './ports.ts';
import type { RunReaders } from './run-readers.ts';

/** Tells everyone who listens. */
export type Notify = <N extends PushName>(channel: N, payload: PushPayload<N>) => void;

/** Handed to each service by `createHost`. */
export interface HostContext {
  readonly ports: HostPorts;
  readonly db: AppDb;
  readonly readers: RunReaders;
  readonly notify: Notify;
  /** What is stored of run `id`. @throws UserError `run/unknown`. */
  readonly rowOf: (id: string) => RunRow;
}
