import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';
import { Client } from '../../api/client.ts';
import { FakeHost } from '../../api/fake-host.ts';
import { ClientContext, createQueryClient } from '../../api/use-host.ts';
import { LookAtCard } from './look-at-card.tsx';

afterEach(cleanup);

function show(at: number | undefined) {
  const went: unknown[] = [];
  const host = new FakeHost({
    'runs.findings': ({ step }) => [
      {
        rule: 'concentration',
        severity: 'warning',
        text: `Layer 3 as of ${step ?? 'now'}`,
        action: 'Look at expert 7.',
        layer: 3,
        expert: 7,
      },
      {
        rule: 'loss-spike',
        severity: 'info',
        text: 'The loss jumped',
        action: 'Look at the batch.',
        step: 40,
      },
    ],
  });
  render(
    <ClientContext value={new Client(host)}>
      <QueryClientProvider client={createQueryClient()}>
        <LookAtCard
          id="run_a"
          at={at}
          live={false}
          layerNames={[1, 3]}
          onStep={(step) => went.push(step)}
          onExpert={(place) => went.push(place)}
        />
      </QueryClientProvider>
    </ClientContext>,
  );
  return went;
}

test('findings of the step shown, each with its way to the expert or step', async () => {
  const went = show(20);
  expect(await screen.findByText('Layer 3 as of 20')).toBeTruthy();
  fireEvent.click(screen.getByRole('button', { name: 'Open expert' }));
  fireEvent.click(screen.getByRole('button', { name: 'Step 40' }));
  // Decoder layer 3 is the second row of the routing records.
  expect(went).toEqual([{ row: 1, expert: 7 }, 40]);
});

test('without a chosen step the newest state is asked for', async () => {
  show(undefined);
  expect(await screen.findByText('Layer 3 as of now')).toBeTruthy();
});
