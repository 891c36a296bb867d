import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';
import { RunDetail, type Placement } from '#core/contract/run.ts';
import { FactsCard } from './facts-card.tsx';

afterEach(cleanup);

function show(placement: Placement | undefined, halfParameters?: number): void {
  const detail = RunDetail.parse({
    id: 'run_a',
    name: 'A',
    state: 'running',
    method: 'full',
    modelName: 'model',
    createdMs: 0,
    lastStep: 1,
    spec: {
      model: { path: '/model' },
      data: { train: [{ path: '/data' }] },
      method: { name: 'full' },
      train: { steps: 2 },
    },
    facts: {
      family: 'olmoe',
      layers: 2,
      moeLayers: 2,
      moeLayerIndices: [0, 1],
      experts: 4,
      expertsPerToken: 2,
      trainableParameters: 10,
      totalParameters: 20,
      totalSteps: 2,
      trainRows: 8,
      validationRows: 0,
      hashes: {},
      provider: 'webgpu',
      adapter: 'a GPU',
      placement,
      halfParameters,
      threads: 1,
      estimatedMemoryMB: 1,
    },
    checkpoints: [],
    trainedSeconds: 0,
  });
  render(<FactsCard detail={detail} />);
}

test('the operators on the adapter are counted, and those left to the CPU named', () => {
  show({ onAdapter: 1204, sizesOnCpu: 19, leftToCpu: [{ operator: 'Sign', count: 2 }] });
  expect(screen.getByText(/1,204 operators on the adapter/).textContent).toBe(
    '1,204 operators on the adapter, 19 on the CPU that compute sizes · left to the CPU: 2 × Sign',
  );
});

test('before the first step, and on the CPU, nothing is said of it', () => {
  show(undefined);
  expect(screen.queryByText('Placement')).toBeNull();
  expect(screen.queryByText('Frozen weights')).toBeNull();
});

test('frozen weights in float16 are counted', () => {
  show(undefined, 1_900_000);
  expect(screen.getByText('1.90 M parameters in float16 on the adapter')).toBeTruthy();
});
