import { expect, test } from 'vitest';
import { normal, philox, uniform } from './philox.ts';

// Known answers published with the generator (Random123, kat_vectors, philox2x32 with 10 rounds).
test.each([
  [0, 0, 0, 0xff1dae59, 0x6cd10df2],
  [0xffffffff, 0xffffffff, 0xffffffff, 0x2c3f628b, 0xab4fd7ad],
  [0x13198a2e, 0x243f6a88, 0x85a308d3, 0xdd7ce038, 0xf62a4c12],
])('philox with key %i', (key, counter, stream, first, second) => {
  expect(philox(key, counter, stream)).toEqual([first, second]);
});

test('uniform numbers are spread evenly, and differ by seed and by name', () => {
  const drawn = uniform(3, 'a', 10_000);
  const tenths = Array.from({ length: 10 }, (_, tenth) =>
    drawn.reduce((sum, x) => sum + Number(Math.floor(x * 10) === tenth), 0),
  );
  // 1000 expected in each, with a standard deviation of 30.
  for (const count of tenths) expect(Math.abs(count - 1000)).toBeLessThan(150);
  expect(uniform(3, 'a', 10_000)).toEqual(drawn);
  expect(uniform(4, 'a', 4)).not.toEqual(drawn.slice(0, 4));
  expect(uniform(3, 'b', 4)).not.toEqual(drawn.slice(0, 4));
});

test('normal numbers have mean 0, variance 1 and the share within one deviation of a normal distribution', () => {
  const drawn = normal(3, 'a', 10_001);
  const mean = drawn.reduce((sum, x) => sum + x, 0) / drawn.length;
  const variance = drawn.reduce((sum, x) => sum + (x - mean) ** 2, 0) / drawn.length;
  const within = drawn.reduce((sum, x) => sum + Number(Math.abs(x) < 1), 0) / drawn.length;
  // Standard errors: 0.010, 0.014, 0.0047.
  expect(Math.abs(mean)).toBeLessThan(0.05);
  expect(Math.abs(variance - 1)).toBeLessThan(0.07);
  expect(Math.abs(within - 0.6827)).toBeLessThan(0.024);
});
