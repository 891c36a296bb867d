import { expect, test } from 'vitest';
import { shareOf } from './confidence.ts';

test('intervals are those of Wilson', () => {
  // Worked values.
  const worked = [
    [818, 1319, 0.5937, 0.646],
    [98, 254, 0.3281, 0.447],
    [218, 238, 0.8738, 0.9449],
    [620, 1000, 0.5895, 0.6496],
  ] as const;
  for (const [count, of, low, high] of worked) {
    expect(shareOf(count, of).low).toBeCloseTo(low, 4);
    expect(shareOf(count, of).high).toBeCloseTo(high, 4);
  }
  expect(shareOf(0, 10)).toMatchObject({ share: 0, low: 0 });
});
