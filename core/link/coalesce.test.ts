import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { coalesce } from './coalesce.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('sends the first value at once, then the newest of each interval', () => {
  const sent: number[] = [];
  const notices = coalesce<number>(100, (value) => sent.push(value) > 0);
  for (let i = 0; i < 1000; i++) {
    notices.push(i);
    vi.advanceTimersByTime(1);
  }
  vi.advanceTimersByTime(200);
  expect(sent.length).toBe(11);
  expect(sent[0]).toBe(0);
  expect(sent.at(-1)).toBe(999);
});

test('keeps the newest value while the receiver is congested', () => {
  const sent: number[] = [];
  let congested = true;
  const notices = coalesce<number>(100, (value) => {
    if (!congested) sent.push(value);
    return !congested;
  });
  notices.push(1);
  notices.push(2);
  vi.advanceTimersByTime(500);
  expect(sent).toEqual([]);
  congested = false;
  vi.advanceTimersByTime(100);
  expect(sent).toEqual([2]);
});

test('flush sends what waits, cancel forgets it', () => {
  const sent: number[] = [];
  const notices = coalesce<number>(100, (value) => sent.push(value) > 0);
  notices.push(1);
  notices.push(2);
  notices.flush();
  notices.push(3);
  notices.cancel();
  vi.advanceTimersByTime(1000);
  expect(sent).toEqual([1, 2]);
});

test('a sender that blocks the event loop for longer than the interval is not held back by the late timer', () => {
  const sent: number[] = [];
  const notices = coalesce<number>(100, (value) => sent.push(value) > 0);
  notices.push(1);
  // The clock moves on and no timer gets its turn.
  vi.setSystemTime(Date.now() + 150);
  notices.push(2);
  vi.setSystemTime(Date.now() + 50);
  notices.push(3);
  expect(sent).toEqual([1, 2]);
});
