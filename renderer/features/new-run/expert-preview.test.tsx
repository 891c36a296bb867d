import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import { useState } from 'react';
import { afterEach, expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import type { ExpertPreview as Preview } from '#core/contract/method.ts';
import { Client } from '../../api/client.ts';
import { FakeHost } from '../../api/fake-host.ts';
import { ClientContext, createQueryClient } from '../../api/use-host.ts';
import { emptyForm, type FormState, missingParts, toDraft } from './draft.ts';
import { ExpertPreview } from './expert-preview.tsx';

afterEach(cleanup);

const form: FormState = {
  ...emptyForm,
  modelId: 'model_tiny',
  trainIds: ['data_gsm8k'],
  parts: [{ name: 'esft', options: {} }],
};
const preview: Preview = {
  layers: [1, 3],
  scores: [
    [0.1, 0.6, 0.3],
    [0.5, 0.5, 0],
  ],
  experts: [[1], [0]],
  trainableParameters: 2_000_000,
  storedBytes: 4_000_000,
  shares: [
    { share: 0.2, experts: [[1], [0]], trainableParameters: 2_000_000, storedBytes: 4_000_000 },
    { share: 0.8, experts: [[1, 2], [0, 1]], trainableParameters: 4_000_000, storedBytes: 8_000_000 }, // prettier-ignore
  ],
};

function show(given: FormState, answer: () => Preview) {
  function Form() {
    const [share, setShare] = useState(0.2);
    return (
      <ExpertPreview
        of={{ draft: () => toDraft(given), missing: missingParts(given) }}
        share={share}
        onShare={setShare}
      />
    );
  }
  render(
    <ClientContext value={new Client(new FakeHost({ 'runs.previewExperts': answer }))}>
      <QueryClientProvider client={createQueryClient()}>
        <Form />
      </QueryClientProvider>
    </ClientContext>,
  );
}

test('experts, parameters and size follow the share that is chosen', async () => {
  show(form, () => preview);
  fireEvent.click(screen.getByRole('button', { name: 'Preview experts' }));
  const status = await screen.findByRole('status');
  expect(status.textContent).toBe('2 experts, 2.00 M parameters, 4.00 MB in a file would train.');
  const rows = () =>
    within(screen.getByRole('region', { name: 'Experts that would train' }))
      .getAllByRole('row')
      .map((row) => row.textContent);
  expect(rows()).toEqual([expect.stringContaining('Layer'), '110.6001', '310.5000']);
  const slider = screen.getByRole<HTMLInputElement>('slider', { name: 'Share' });
  expect(slider.value).toBe('0.2');
  fireEvent.change(slider, { target: { value: '0.8' } });
  expect(status.textContent).toMatch(/^4 experts, 4.00 M/);
  expect(slider.getAttribute('aria-valuetext')).toMatch(/^0.8: 4 experts/);
  expect(rows().slice(1)).toEqual(['120.9001, 2', '321.000, 1']);
});

test('what is missing is named, and what went wrong', async () => {
  show(emptyForm, () => preview);
  expect(screen.getByRole<HTMLButtonElement>('button', { name: 'Preview experts' }).disabled).toBe(true);
  expect(screen.getByText(/^Needs a model, training data/)).toBeTruthy();
  cleanup();
  show(form, () => {
    throw new UserError('plan/no-experts', 'it does not choose', 'Choose esft.');
  });
  fireEvent.click(screen.getByRole('button', { name: 'Preview experts' }));
  expect((await screen.findByRole('alert')).textContent).toContain('it does not choose');
});
