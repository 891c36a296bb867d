/** Routing at the moment that the page shows. */
import { useMemo } from 'react';
import { unpackRouting } from '#core/contract/metrics.ts';
import type { RunFacts } from '#core/contract/run.ts';
import { ROUTING_WINDOW, type RunData } from '../../api/subscriptions.ts';
import { useCall } from '../../api/use-host.ts';
import { type LayerStats, layerStats, type RoutingWindow, sumRouting } from '../../charts/routing-stats.ts';
import { useSettled } from '../../api/use-settled.ts';

/** A window, what it says of each layer, and the run's first window. */
export interface ShownRouting {
  readonly window: RoutingWindow | undefined;
  readonly start: RoutingWindow | undefined;
  readonly layers: readonly LayerStats[];
  readonly loading: boolean;
  readonly error: Error | null;
}

const none: readonly LayerStats[] = [];

/** Routing summed over the window that ends at step `at`, or at the newest step when `at` is undefined. */
export function useRouting(
  id: string,
  facts: RunFacts | undefined,
  data: RunData,
  at: number | undefined,
): ShownRouting {
  const [rows, experts] = [facts?.moeLayers ?? 0, facts?.experts ?? 0];
  const settled = useSettled(at, 100);
  const past = useCall(
    'runs.routing',
    {
      id,
      fromStep: Math.max(0, (settled ?? 0) - ROUTING_WINDOW + 1),
      toStep: settled ?? 0,
      limit: ROUTING_WINDOW,
    },
    { enabled: at !== undefined && settled !== undefined, keep: true },
  );
  const firstStep = data.steps[0]?.step;
  const startEnd = (firstStep ?? 0) + ROUTING_WINDOW - 1;
  const begun = useCall(
    'runs.routing',
    { id, fromStep: 0, toStep: startEnd, limit: ROUTING_WINDOW },
    { enabled: firstStep !== undefined && (data.steps.at(-1)?.step ?? 0) > startEnd },
  );
  const records = at === undefined ? undefined : past.data?.records;
  const window = useMemo(
    () => sumRouting(at === undefined ? data.routing : (records ?? []).map(unpackRouting), rows, experts),
    [at, data.routing, records, rows, experts],
  );
  const start = useMemo(
    () => sumRouting((begun.data?.records ?? []).map(unpackRouting), rows, experts),
    [begun.data, rows, experts],
  );
  const layers = useMemo(() => {
    if (window === undefined) return none;
    // Windows that overlap say nothing about a change.
    return layerStats(window, start !== undefined && start.toStep < window.fromStep ? start : undefined);
  }, [window, start]);
  return {
    window,
    start,
    layers,
    loading: at !== undefined && past.isPending,
    error: at === undefined ? null : past.error,
  };
}
