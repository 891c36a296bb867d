import { useMemo, useSyncExternalStore } from 'react';
import { type RunData, RunFeed } from '../../api/subscriptions.ts';
import { useClient } from '../../api/use-host.ts';

/** The run's data while the component is shown, and a way to try again after an error. */
export function useRunData(id: string): readonly [RunData, () => void] {
  const client = useClient();
  const feed = useMemo(() => new RunFeed(client, id), [client, id]);
  return [useSyncExternalStore(feed.subscribe, feed.snapshot), feed.retry];
}
