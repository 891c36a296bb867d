import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';
import { device } from '../api/fake-entries.ts';
import { DeviceFacts } from './device-facts.tsx';

afterEach(cleanup);

test('a graphics adapter that was tried says where the operators of a training step ran', () => {
  const placement = { onAdapter: 1204, sizesOnCpu: 19, leftToCpu: [{ operator: 'Sign', count: 2 }] };
  const webgpu = { name: 'webgpu', used: true, reason: 'Some GPU.', placement };
  render(<DeviceFacts device={{ ...device, providers: [webgpu] }} />);
  expect(screen.getByText(/Some GPU/).textContent).toBe(
    'Some GPU. A training step of the sample: 1,204 operators on the adapter, 19 on the CPU that compute sizes · left to the CPU: 2 × Sign.',
  );
});
