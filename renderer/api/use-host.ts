/** React access to the host: queries, commands, and the notices that make queries stale. */
import {
  keepPreviousData,
  QueryClient,
  useMutation,
  type UseMutationResult,
  useQuery,
  useQueryClient,
  type UseQueryResult,
} from '@tanstack/react-query';
import { createContext, use, useEffect, useSyncExternalStore } from 'react';
import { invariant, UserError } from '#core/contract/errors.ts';
import type { CallInput, CallName, CallOutput } from '#core/contract/host-api.ts';
import type { Client } from './client.ts';
import type { Connection } from './transport.ts';

/** Holds the client for everything below it. */
export const ClientContext = createContext<Client | undefined>(undefined);

/** The client of the surrounding `ClientContext`. */
export function useClient(): Client {
  const client = use(ClientContext);
  invariant(client !== undefined, 'useClient outside of ClientContext');
  return client;
}

/** Query settings of the app: nothing is refetched by guess, notices from the host say what changed. */
export function createQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: Infinity,
        refetchOnWindowFocus: false,
        refetchOnReconnect: false,
        networkMode: 'always',
        retry: (count, error) => error instanceof UserError && error.code === 'connection/lost' && count < 20,
        retryDelay: (count) => Math.min(4000, 250 * 2 ** count),
      },
      mutations: { networkMode: 'always' },
    },
  });
}

/** Options of `useCall`. */
export interface CallOptions {
  /** False while an input is not known yet. */
  readonly enabled?: boolean;
  /** Keeps the last value while a changed input loads. */
  readonly keep?: boolean;
  /** Asks again after so many milliseconds. */
  readonly everyMs?: number;
}

/** The value of a call, kept until a notice makes it stale. */
export function useCall<N extends CallName>(
  name: N,
  input: CallInput<N>,
  options: CallOptions = {},
): UseQueryResult<CallOutput<N>> {
  const client = useClient();
  return useQuery<CallOutput<N>>({
    queryKey: [name, input ?? null],
    queryFn: () => client.call(name, input),
    enabled: options.enabled ?? true,
    ...(options.keep && { placeholderData: keepPreviousData }),
    ...(options.everyMs !== undefined && { refetchInterval: options.everyMs }),
  });
}

/** A call that changes something; on success the queries named in `stale` are asked again. */
export function useCommand<N extends CallName>(
  name: N,
  stale: readonly CallName[] = [],
): UseMutationResult<CallOutput<N>, Error, CallInput<N>> {
  const client = useClient();
  const queries = useQueryClient();
  return useMutation<CallOutput<N>, Error, CallInput<N>>({
    mutationFn: (input) => client.call(name, input),
    onSuccess: async () => {
      await Promise.all(stale.map((key) => queries.invalidateQueries({ queryKey: [key] })));
    },
  });
}

/** The connection's state, kept current. */
export function useConnection(): Connection {
  const client = useClient();
  return useSyncExternalStore(client.onConnection, client.connection);
}

/** Run lists are asked again at most this often while runs advance. */
const LIST_REFRESH_MS = 1000;

/** What is made of all that a run measured. With its last change, its end, comes the last of it. */
const madeOfRuns: ReadonlySet<unknown> = new Set<CallName>([
  'compare.get',
  'compare.usage',
  'reports.build',
  'runs.findings',
  'runs.routing',
]);

/** Whether a query is one of `madeOfRuns`, and of run `id` among others. */
function isMadeOf(id: string, [name, input]: readonly unknown[]): boolean {
  return (
    madeOfRuns.has(name) &&
    Object.values(input ?? {})
      .flat()
      .includes(id)
  );
}

/** Marks queries stale when the host says that something changed, and all of them after a reconnection. */
export function useStaleOnNotice(): void {
  const client = useClient();
  const queries = useQueryClient();
  useEffect(() => {
    const stale = (key: CallName) => void queries.invalidateQueries({ queryKey: [key] });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const refreshRuns = () => {
      timer = undefined;
      stale('runs.list');
      stale('runs.get');
    };
    let wasOpen = client.connection().state === 'open';
    const leave = [
      client.on('models.changed', () => stale('models.list')),
      client.on('datasets.changed', () => stale('datasets.list')),
      client.on('scores.changed', () => {
        stale('scores.get');
        // It comes with every answer: a report on the screen stays as it is, the next one has the scores.
        void queries.invalidateQueries({ queryKey: ['reports.build'], refetchType: 'none' });
      }),
      client.on('exports.changed', () => stale('exports.get')),
      client.on('runs.changed', ({ id }) => {
        refreshRuns();
        void queries.invalidateQueries({ predicate: ({ queryKey }) => isMadeOf(id, queryKey) });
      }),
      client.on('runs.advanced', () => {
        timer ??= setTimeout(refreshRuns, LIST_REFRESH_MS);
      }),
      client.onConnection(() => {
        const open = client.connection().state === 'open';
        if (open && !wasOpen) void queries.invalidateQueries();
        wasOpen = open;
      }),
    ];
    return () => {
      clearTimeout(timer);
      for (const end of leave) end();
    };
  }, [client, queries]);
}
