import { expect, test } from 'vitest';
import { linkPair } from './link.ts';

test('messages arrive in order, as copies', async () => {
  const [a, b] = linkPair();
  const received: unknown[] = [];
  b.onMessage((message) => received.push(message));
  const sent = { step: 1, counts: new Uint32Array([1, 2]) };
  a.send(sent);
  sent.step = 2;
  a.send(sent);
  await Promise.resolve();
  expect(received).toEqual([
    { step: 1, counts: new Uint32Array([1, 2]) },
    { step: 2, counts: new Uint32Array([1, 2]) },
  ]);
});

test('closing one end closes the other, once; late listeners hear of it at once', async () => {
  const [a, b] = linkPair();
  const heard: string[] = [];
  a.onClose(() => heard.push('a'));
  b.onClose(() => heard.push('b'));
  a.close();
  a.close();
  await Promise.resolve();
  b.onClose(() => heard.push('late'));
  a.send('nobody hears this');
  expect(heard).toEqual(['a', 'b', 'late']);
  expect([a.closed, b.closed]).toEqual([true, true]);
});

test('an unsubscribed listener hears nothing, also when it leaves while it is called', async () => {
  const [a, b] = linkPair();
  const received: unknown[] = [];
  const leave = b.onMessage((message) => {
    received.push(message);
    leave();
  });
  a.send(1);
  a.send(2);
  await Promise.resolve();
  expect(received).toEqual([1]);
});
