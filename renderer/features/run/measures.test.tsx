import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';
import { stepMetrics } from '../../api/fake-entries.ts';
import { Measures } from './measures.tsx';

afterEach(cleanup);

test('a value is read out with its unit as a word of its own', () => {
  render(
    <Measures
      steps={[{ ...stepMetrics(1), tokensPerSecond: 3364, rssMB: 412 }]}
      chosen="loss"
      onChoose={() => undefined}
    />,
  );
  expect(screen.getByRole('button', { name: 'Tokens per second 3,364 tok/s' })).toBeTruthy();
  expect(screen.getByRole('button', { name: 'Memory 412 MB' })).toBeTruthy();
});
