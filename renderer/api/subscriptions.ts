/**
 * What is known of one run while its page is open. Notices only say how far the run is; everything is read on from the
 * feed's own marks, so a missed notice, a slow page or a reconnection loses nothing.
 */
import { toErrorInfo, type ErrorInfo } from '#core/contract/errors.ts';
import {
  type Evaluation,
  type RoutingRecord,
  type RunEventRecord,
  type StepMetrics,
  unpackRouting,
} from '#core/contract/metrics.ts';
import type { Client } from './client.ts';
import { Listeners } from './transport.ts';

/** One immutable view of the feed. */
export interface RunData {
  readonly status: 'loading' | 'ready' | 'error';
  readonly error?: ErrorInfo;
  readonly steps: readonly StepMetrics[];
  readonly evaluations: readonly Evaluation[];
  readonly events: readonly RunEventRecord[];
  /** Routing of the last `ROUTING_WINDOW` steps, oldest first. */
  readonly routing: readonly RoutingRecord[];
}

/** Shortest time between two updates: charts change at most four times a second. */
export const UPDATE_MS = 250;
/** Steps whose routing is summed for the live picture. */
export const ROUTING_WINDOW = 20;

const nothing: RunData = { status: 'loading', steps: [], evaluations: [], events: [], routing: [] };

/** `old` with `fresh` after it; a step that both have is taken from `fresh`. */
function appended<T extends { readonly step: number }>(old: readonly T[], fresh: readonly T[]): readonly T[] {
  const first = fresh[0]?.step;
  if (first === undefined) return old;
  let keep = old.length;
  while (keep > 0 && (old[keep - 1]?.step ?? -1) >= first) keep -= 1;
  return [...old.slice(0, keep), ...fresh];
}

/** Follows one run. */
export class RunFeed {
  readonly #client: Client;
  readonly #id: string;
  readonly #changes = new Listeners<[]>();
  #data: RunData = nothing;
  /** What the next read goes on from. Differs from what is shown only between a reset and that read. */
  #held: RunData = nothing;
  #leave: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #reading = false;
  #again = false;
  #lastReadMs = 0;
  #stopped = true;
  /** Raised by `reset`: a read that began before it is dropped. */
  #generation = 0;

  constructor(client: Client, id: string) {
    this.#client = client;
    this.#id = id;
  }

  /** The data now; the same object until they change. */
  snapshot = (): RunData => this.#data;

  /** Calls `listener` after each change. The first listener starts the feed, the last one to leave stops it. */
  subscribe = (listener: () => void): (() => void) => {
    const leave = this.#changes.add(listener);
    if (this.#changes.size === 1) this.#start();
    return () => {
      leave();
      if (this.#changes.size === 0) this.#stop();
    };
  };

  /** Reads again from where the feed is; used by a Retry button. */
  retry = (): void => this.#request();

  #start(): void {
    this.#stopped = false;
    this.#leave = [
      this.#client.on('runs.advanced', (mark) => {
        if (mark.id !== this.#id) return;
        if (mark.lastStep < (this.#held.steps.at(-1)?.step ?? -1)) this.#reset();
        this.#request();
      }),
      this.#client.on('runs.changed', (run) => {
        if (run.id === this.#id) this.#request();
      }),
      this.#client.onConnection(() => {
        if (this.#client.connection().state === 'open') this.#request();
      }),
    ];
    this.#request();
  }

  #stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const leave of this.#leave.splice(0)) leave();
  }

  /** The run went back to a checkpoint: steps after it were taken back. What is shown stays until all is read again. */
  #reset(): void {
    this.#generation += 1;
    this.#held = nothing;
  }

  #request(): void {
    if (this.#reading) {
      this.#again = true;
      return;
    }
    if (this.#timer !== undefined || this.#stopped) return;
    const wait = Math.max(0, this.#lastReadMs + UPDATE_MS - Date.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#read();
    }, wait);
  }

  async #read(): Promise<void> {
    this.#reading = true;
    this.#lastReadMs = Date.now();
    const generation = this.#generation;
    const held = this.#held;
    const lastStep = held.steps.at(-1)?.step ?? -1;
    try {
      const series = await this.#client.call('runs.series', {
        id: this.#id,
        // One step back: the evaluation after a step is committed later than the step itself.
        afterStep: Math.max(-1, lastStep - 1),
        afterEvent: held.events.at(-1)?.id ?? 0,
      });
      const resumed = held.events.length > 0 && series.events.some((event) => event.kind === 'resumed');
      if (resumed) {
        this.#reset();
        this.#again = true;
      } else {
        const newest = series.steps.at(-1)?.step ?? lastStep;
        const routing = newest < 0 ? [] : await this.#routing(held.routing.at(-1)?.step ?? -1, newest);
        if (generation === this.#generation) this.#merge(held, series, routing);
        else this.#again = true;
      }
    } catch (error) {
      this.#publish({ ...this.#data, status: 'error', error: toErrorInfo(error) });
    } finally {
      this.#reading = false;
    }
    if (this.#again) {
      this.#again = false;
      this.#request();
    }
  }

  async #routing(heldStep: number, newest: number): Promise<readonly RoutingRecord[]> {
    const fromStep = Math.max(0, heldStep + 1, newest - ROUTING_WINDOW + 1);
    if (fromStep > newest) return [];
    const { records } = await this.#client.call('runs.routing', {
      id: this.#id,
      fromStep,
      toStep: newest,
      limit: ROUTING_WINDOW,
    });
    return records.map(unpackRouting);
  }

  #merge(
    held: RunData,
    series: Pick<RunData, 'steps' | 'evaluations' | 'events'>,
    routing: readonly RoutingRecord[],
  ): void {
    this.#held = {
      status: 'ready',
      steps: appended(held.steps, series.steps),
      evaluations: appended(held.evaluations, series.evaluations),
      events: series.events.length === 0 ? held.events : [...held.events, ...series.events],
      routing: routing.length === 0 ? held.routing : appended(held.routing, routing).slice(-ROUTING_WINDOW),
    };
    this.#publish(this.#held);
  }

  #publish(data: RunData): void {
    this.#data = data;
    this.#changes.emit();
  }
}
