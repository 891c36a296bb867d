import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { packRouting, type RunEventRecord } from '#core/contract/metrics.ts';
import { UserError } from '#core/contract/errors.ts';
import { Client } from './client.ts';
import { stepMetrics } from './fake-entries.ts';
import { FakeHost } from './fake-host.ts';
import { ROUTING_WINDOW, RunFeed, UPDATE_MS } from './subscriptions.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const id = 'run_a';
const event = (number: number, kind: RunEventRecord['kind']) => ({
  id: number,
  step: 1,
  wallMs: 0,
  kind,
  message: kind,
});

/** A host whose run has the steps, evaluations and events in these lists. */
function scripted() {
  const run = {
    steps: [1, 2, 3].map((step) => stepMetrics(step)),
    evaluations: [] as { step: number; loss: number; trainedTokens: number }[],
    events: [event(1, 'started')],
    fail: false,
  };
  const host = new FakeHost({
    'runs.series': ({ afterStep, afterEvent }) => {
      if (run.fail) throw new UserError('store/busy', 'the database is locked');
      return {
        steps: run.steps.filter((step) => step.step > afterStep),
        evaluations: run.evaluations.filter((evaluation) => evaluation.step > afterStep),
        events: run.events.filter((entry) => entry.id > afterEvent),
      };
    },
    'runs.routing': ({ fromStep, toStep }) => ({
      records: run.steps
        .filter(({ step }) => step >= fromStep && step <= (toStep ?? Infinity))
        .map(({ step }) => packRouting({ step, counts_LE: Uint32Array.of(step, 1) })),
    }),
  });
  const feed = new RunFeed(new Client(host), id);
  const advance = (lastStep: number) => host.push('runs.advanced', { id, lastStep, lastEvent: 1 });
  const reads = () => host.calls.filter((call) => call.name === 'runs.series');
  return { run, host, feed, advance, reads, steps: () => feed.snapshot().steps.map((step) => step.step) };
}

test('reads everything at first, then only what is new, one step back for late evaluations', async () => {
  const { run, feed, advance, reads, steps } = scripted();
  feed.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  expect(steps()).toEqual([1, 2, 3]);
  run.steps.push(stepMetrics(4));
  run.evaluations.push({ step: 3, loss: 2, trainedTokens: 1 });
  advance(4);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  expect(steps()).toEqual([1, 2, 3, 4]);
  expect(feed.snapshot().evaluations).toHaveLength(1);
  expect(reads().map((call) => call.input)).toEqual([
    { id, afterStep: -1, afterEvent: 0 },
    { id, afterStep: 2, afterEvent: 1 },
  ]);
});

test('a lost notice loses no step: the next one reads on from the mark', async () => {
  const { run, feed, advance, steps } = scripted();
  feed.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  run.steps.push(...[4, 5, 6, 7].map((step) => stepMetrics(step)));
  advance(7);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  expect(steps()).toEqual([1, 2, 3, 4, 5, 6, 7]);
});

test('ninety-nine notices within a second cause at most four updates', async () => {
  const { run, feed, advance, reads } = scripted();
  const changes = vi.fn<() => void>();
  feed.subscribe(changes);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  const [readsBefore, changesBefore] = [reads().length, changes.mock.calls.length];
  for (let i = 0; i < 99; i++) {
    run.steps.push(stepMetrics(4 + i));
    advance(4 + i);
    await vi.advanceTimersByTimeAsync(10);
  }
  expect(reads().length - readsBefore).toBeLessThanOrEqual(4);
  expect(changes.mock.calls.length - changesBefore).toBeLessThanOrEqual(4);
  expect(feed.snapshot().steps.length).toBeGreaterThan(3);
});

test('after a reconnection it reads on by itself', async () => {
  const { run, host, feed, steps } = scripted();
  feed.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  host.setConnection({ state: 'closed', sinceMs: 0 });
  run.steps.push(stepMetrics(4));
  await vi.advanceTimersByTimeAsync(5000);
  expect(steps()).toEqual([1, 2, 3]);
  host.setConnection({ state: 'open', sinceMs: 0 });
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  expect(steps()).toEqual([1, 2, 3, 4]);
});

test('a run resumed from a checkpoint takes its later steps back', async () => {
  const { run, feed, advance, steps } = scripted();
  feed.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  run.steps = [stepMetrics(1), stepMetrics(2, { loss: 9 })];
  run.events.push(event(2, 'resumed'));
  advance(2);
  expect(steps(), 'shown until all is read again').toEqual([1, 2, 3]);
  await vi.advanceTimersByTimeAsync(2 * UPDATE_MS);
  expect(steps()).toEqual([1, 2]);
  expect(feed.snapshot().steps[1]?.loss).toBe(9);
  expect(feed.snapshot().events.map((entry) => entry.id)).toEqual([1, 2]);
});

test('a resumed run that is already past its old steps is read anew', async () => {
  const { run, feed, advance } = scripted();
  feed.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  run.steps = [1, 2, 3, 4].map((step) => stepMetrics(step, { loss: 9 }));
  run.events.push(event(2, 'resumed'));
  advance(4);
  await vi.advanceTimersByTimeAsync(2 * UPDATE_MS);
  expect(feed.snapshot().steps.map((step) => step.loss)).toEqual([9, 9, 9, 9]);
});

test('an error keeps what was read, says so, and the next read mends it', async () => {
  const { run, feed, advance, steps } = scripted();
  feed.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  run.fail = true;
  advance(4);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  expect(feed.snapshot()).toMatchObject({ status: 'error', error: { code: 'store/busy' } });
  expect(steps()).toEqual([1, 2, 3]);
  run.fail = false;
  feed.retry();
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  expect(feed.snapshot().status).toBe('ready');
});

test('routing keeps the last window only', async () => {
  const { run, feed, advance } = scripted();
  feed.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  expect(feed.snapshot().routing.map((record) => record.step)).toEqual([1, 2, 3]);
  run.steps = Array.from({ length: 100 }, (_, i) => stepMetrics(i + 1));
  advance(100);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  const kept = feed.snapshot().routing.map((record) => record.step);
  expect(kept).toHaveLength(ROUTING_WINDOW);
  expect([kept[0], kept.at(-1)]).toEqual([81, 100]);
});

test('nothing is read for other runs, nor after the page is left', async () => {
  const { host, feed, advance, reads } = scripted();
  const leave = feed.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(UPDATE_MS);
  host.push('runs.advanced', { id: 'run_b', lastStep: 9, lastEvent: 1 });
  await vi.advanceTimersByTimeAsync(1000);
  expect(reads()).toHaveLength(1);
  leave();
  advance(9);
  await vi.advanceTimersByTimeAsync(1000);
  expect(reads()).toHaveLength(1);
});
