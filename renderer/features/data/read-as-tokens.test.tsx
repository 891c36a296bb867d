import { QueryClientProvider } from '@tanstack/react-query';
import { act, cleanup, render, screen, waitFor } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';
import type { DatasetInspection } from '#core/contract/dataset.ts';
import { Client } from '../../api/client.ts';
import { dataset, model } from '../../api/fake-entries.ts';
import { FakeHost } from '../../api/fake-host.ts';
import { ClientContext, createQueryClient } from '../../api/use-host.ts';
import { ReadAsTokens } from './read-as-tokens.tsx';

afterEach(cleanup);

test('a data set that takes minutes to read says how many rows were read, until it has the numbers', async () => {
  const inspection = Promise.withResolvers<DatasetInspection>();
  const host = new FakeHost({
    'models.list': () => [model()],
    'datasets.preview': () => [],
    'datasets.inspect': () => inspection.promise,
  });
  render(
    <ClientContext value={new Client(host)}>
      <QueryClientProvider client={createQueryClient()}>
        <ReadAsTokens entry={dataset({ id: 'data_big', rows: 441_513 })} />
      </QueryClientProvider>
    </ClientContext>,
  );
  await waitFor(() => expect(host.calls.map(({ name }) => name)).toContain('datasets.inspect'));
  const progress = () => screen.queryByText(/so far/)?.textContent;
  act(() => host.push('datasets.inspecting', { id: 'data_other', rows: 256 }));
  expect(progress()).toBeUndefined();
  act(() => host.push('datasets.inspecting', { id: 'data_big', rows: 128_000 }));
  expect(progress()).toBe('128,000 of 441,513 rows read as tokens so far.');
  inspection.resolve({
    rows: 441_513,
    tokens: 10,
    trainedTokens: 5,
    truncatedRows: 0,
    longest: 2,
    histogram: [],
    findings: [],
  });
  await screen.findByText(/Nothing to report/);
  expect(progress()).toBeUndefined();
});
