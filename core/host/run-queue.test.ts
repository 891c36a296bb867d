import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createRunQueue } from './run-queue.ts';

function queueOf(atATime?: number) {
  const started: string[] = [];
  const finish = new Map<string, () => void>();
  const queue = createRunQueue((id) => {
    started.push(id);
    return new Promise<void>((resolve) => {
      finish.set(id, resolve);
    });
  }, atATime);
  return { queue, started, finish: (id: string) => finish.get(id)?.() };
}

test('one at a time, in order', async () => {
  const { queue, started, finish } = queueOf();
  for (const id of ['a', 'b', 'c']) queue.add(id);
  expect(started).toEqual(['a']);
  finish('a');
  await sleep(1);
  expect(started).toEqual(['a', 'b']);
  expect(queue.remove('c')).toBe(true);
  expect(queue.remove('c')).toBe(false);
  finish('b');
  await sleep(1);
  expect(started).toEqual(['a', 'b']);
});

test('two at a time', () => {
  const { queue, started } = queueOf(2);
  for (const id of ['a', 'b', 'c']) queue.add(id);
  expect(started).toEqual(['a', 'b']);
});

test('waits for work it did not start', async () => {
  const { queue, started } = queueOf();
  queue.occupy(sleep(20));
  queue.add('a');
  expect(started).toEqual([]);
  await sleep(40);
  expect(started).toEqual(['a']);
});

test('starts nothing once closed', async () => {
  const { queue, started, finish } = queueOf();
  queue.add('a');
  queue.add('b');
  queue.close();
  finish('a');
  await sleep(1);
  expect(started).toEqual(['a']);
});
