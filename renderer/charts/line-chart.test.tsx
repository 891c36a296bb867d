import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

afterEach(() => {
  cleanup();
  vi.resetModules();
  Reflect.deleteProperty(navigator, 'language');
});

test('a chart is drawn where the browser calls its language en-US@posix', async () => {
  Object.defineProperty(navigator, 'language', { value: 'en-US@posix', configurable: true });
  const { LineChart } = await import('./line-chart.tsx');
  render(<LineChart label="Loss" lines={[]} xLabel="step" formatX={String} />);
  expect(screen.getByRole('img', { name: 'Loss' })).toBeDefined();
});
