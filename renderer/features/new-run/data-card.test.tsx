import { QueryClient, QueryClientProvider, useQuery } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import { useState } from 'react';
import { afterEach, expect, test } from 'vitest';
import { dataset } from '../../api/fake-entries.ts';
import { DataCard } from './data-card.tsx';
import { emptyForm, type FormState } from './draft.ts';

afterEach(cleanup);

const entries = [
  dataset({ id: 'data_train', name: 'word problems' }),
  dataset({ id: 'data_general', name: 'general questions' }),
];

function show(start: FormState) {
  const told = { form: start };
  function Form() {
    const datasets = useQuery({ queryKey: ['datasets'], queryFn: () => entries, initialData: entries });
    const [form, setForm] = useState(start);
    told.form = form;
    return (
      <DataCard
        form={form}
        datasets={datasets}
        setForm={setForm}
        setSection={() => undefined}
        setError={() => undefined}
      />
    );
  }
  render(
    <QueryClientProvider client={new QueryClient()}>
      <Form />
    </QueryClientProvider>,
  );
  return told;
}

test('forgetting is measured on data sets that are not trained on, when someone asks for it', () => {
  const told = show({ ...emptyForm, trainIds: ['data_train'] });
  expect(screen.queryByRole('group', { name: 'General data' })).toBeNull();
  const wanted = screen.getByRole('switch', { name: 'Measure forgetting' });
  fireEvent.click(wanted);
  const general = within(screen.getByRole('group', { name: 'General data' }));
  expect(general.queryByRole('checkbox', { name: /word problems/ })).toBeNull();
  fireEvent.click(general.getByRole('checkbox', { name: /general questions/ }));
  expect(told.form.generalIds).toEqual(['data_general']);
  fireEvent.click(wanted);
  expect(told.form.generalIds).toEqual([]);
});

test('a data set that becomes training data is no general data any more', () => {
  const told = show({ ...emptyForm, generalIds: ['data_general'] });
  const training = within(screen.getByRole('group', { name: 'Training data' }));
  fireEvent.click(training.getByRole('checkbox', { name: /general questions/ }));
  expect([told.form.trainIds, told.form.generalIds]).toEqual([['data_general'], []]);
});
