import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import { useState } from 'react';
import { afterEach, expect, test } from 'vitest';
import type { MethodInfo } from '#core/contract/method.ts';
import { Client } from '../../api/client.ts';
import { FakeHost } from '../../api/fake-host.ts';
import { ClientContext, createQueryClient } from '../../api/use-host.ts';
import { ComparedMethods } from './compared-methods.tsx';
import { type Compared, emptyForm, toDraft } from './draft.ts';

afterEach(cleanup);

const method = (name: string): MethodInfo => ({
  name,
  title: `Method ${name}`,
  trains: 'Every weight.',
  cost: '1 ×',
  source: 'the literature',
  optionsSchema: { type: 'object', properties: {} },
});

/** The card's part, and what it last told: the comparison and the wrong fields. */
function show(start: Compared) {
  const told = { compared: start, errors: new Map<string, string>() };
  function Form() {
    const [compared, setCompared] = useState(start);
    return (
      <ComparedMethods
        list={[method('full'), method('lora'), method('esft')]}
        compared={compared}
        plan={undefined}
        previewed={(parts) => ({ draft: () => toDraft({ ...emptyForm, parts }), missing: ['a model'] })}
        onChange={(next) => {
          told.compared = next;
          setCompared(next);
        }}
        setError={(section, key, error) => {
          if (error === undefined) told.errors.delete(`${section}.${key}`);
          else told.errors.set(`${section}.${key}`, error);
        }}
      />
    );
  }
  render(
    <ClientContext value={new Client(new FakeHost({}))}>
      <QueryClientProvider client={createQueryClient()}>
        <Form />
      </QueryClientProvider>
    </ClientContext>,
  );
  return told;
}

const ratesOf = (title: string) =>
  within(screen.getByRole('group', { name: new RegExp(title) })).getByLabelText<HTMLInputElement>(
    /^Learning rates/,
  );
const type = (field: HTMLInputElement, value: string) => fireEvent.change(field, { target: { value } });

test('each chosen method has learning rates of its own, and none at first', () => {
  const told = show({ methods: [{ key: 0, parts: [{ name: 'full', options: {} }] }], seeds: [1] });
  fireEvent.click(screen.getByRole('checkbox', { name: /Method lora/ }));
  expect(ratesOf('Method lora').value).toBe('');
  type(ratesOf('Method lora'), '1e-4, 3e-4');
  expect(told.compared.methods).toEqual([
    { key: 0, parts: [{ name: 'full', options: {} }] },
    { key: 1, parts: [{ name: 'lora', options: {} }], learningRates: [1e-4, 3e-4] },
  ]);
  type(ratesOf('Method lora'), '');
  expect(told.compared.methods[1]?.learningRates).toBeUndefined();
});

test('a wrong rate is named beside its field, keeps the last right ones, and goes with its method', () => {
  const told = show({
    methods: [{ key: 0, parts: [{ name: 'full', options: {} }], learningRates: [1e-3] }],
    seeds: [1],
  });
  type(ratesOf('Method full'), '1e-3, fast');
  expect(screen.getByRole('alert').textContent).toBe('Learning rates: expected a number above 0');
  expect(told.errors.size).toBe(1);
  expect(told.compared.methods[0]?.learningRates).toEqual([1e-3]);
  fireEvent.click(screen.getByRole('checkbox', { name: /Method full/ }));
  expect(told.errors.size).toBe(0);
});

test('methods together are a choice of their own, beside each of them alone', () => {
  const together = {
    key: 3,
    parts: [
      { name: 'full', options: {} },
      { name: 'lora', options: {} },
    ],
  };
  const told = show({ methods: [together], seeds: [1] });
  expect(screen.getByRole<HTMLInputElement>('checkbox', { name: /Method lora/ }).checked).toBe(false);
  fireEvent.click(screen.getByRole('checkbox', { name: /Method lora/ }));
  expect(told.compared.methods).toEqual([together, { key: 4, parts: [{ name: 'lora', options: {} }] }]);
  fireEvent.click(screen.getByRole('button', { name: 'Leave out Method full + Method lora' }));
  expect(told.compared.methods.map(({ key }) => key)).toEqual([4]);
});

test('the experts of one choice can be previewed', () => {
  show({ methods: [{ key: 0, parts: [{ name: 'full', options: {} }, { name: 'esft', options: {} }] }], seeds: [1] }); // prettier-ignore
  expect(screen.getByRole('button', { name: 'Preview experts' })).toBeTruthy();
  expect(screen.getByText('Needs a model.')).toBeTruthy();
});
