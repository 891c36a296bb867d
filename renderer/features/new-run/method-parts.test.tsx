import { cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import { useState } from 'react';
import { afterEach, expect, test } from 'vitest';
import type { NamedMethod } from '#core/contract/methods-together.ts';
import type { MethodInfo } from '#core/contract/method.ts';
import { emptyForm, toDraft } from './draft.ts';
import { MethodParts } from './method-parts.tsx';

afterEach(cleanup);

const method = (name: string, option: string): MethodInfo => ({
  name,
  title: `Method ${name}`,
  trains: 'Every weight.',
  cost: '1 ×',
  source: 'the literature',
  optionsSchema: {
    type: 'object',
    properties: { [option]: { type: 'number', title: `Number of ${name}`, default: 1 } },
  },
});
const list = [method('full', 'loss'), method('lora', 'rank'), method('dora', 'rank')];

/** The form, and what it last told: the methods and the wrong fields. */
function show(start: readonly NamedMethod[], problem?: string) {
  const told = { parts: start, errors: new Map<string, string>() };
  function Form() {
    const [parts, setParts] = useState(start);
    return (
      <MethodParts
        list={list}
        parts={parts}
        problem={problem}
        previewed={{ draft: () => toDraft({ ...emptyForm, parts }), missing: [] }}
        onChange={(next) => {
          told.parts = next;
          setParts(next);
        }}
        setError={(section, key, error) => {
          if (error === undefined) told.errors.delete(`${section}.${key}`);
          else told.errors.set(`${section}.${key}`, error);
        }}
      />
    );
  }
  render(<Form />);
  return told;
}

const adder = () => screen.getByRole('combobox', { name: 'Add a method beside it' });
const field = (title: string) => screen.getByLabelText<HTMLInputElement>(new RegExp(`^${title}`));
const type = (title: string, value: string) => fireEvent.change(field(title), { target: { value } });

/** Adds the method titled `title` with keys alone. */
async function add(title: string) {
  adder().focus();
  fireEvent.keyDown(adder(), { key: 'ArrowDown' });
  const option = await screen.findByRole('option', { name: title });
  option.focus();
  fireEvent.keyDown(option, { key: 'Enter' });
}

test('one method has its options and nothing of several', () => {
  show([{ name: 'full', options: {} }], 'a problem that the review tells');
  expect(field('Number of full')).toBeTruthy();
  expect(screen.queryByRole('group')).toBeNull();
  expect(screen.queryByRole('button', { name: /^Remove/ })).toBeNull();
  expect(document.body.textContent).not.toMatch(/together|a problem/);
});

test('another is added and removed by keyboard, each with its own options', async () => {
  const told = show([{ name: 'full', options: {} }]);
  await add('Method lora');
  type('Number of lora', '8');
  type('Number of full', '2');
  expect(told.parts).toEqual([
    { name: 'full', options: { loss: 2 } },
    { name: 'lora', options: { rank: 8 } },
  ]);
  const beside = within(screen.getByRole('group', { name: /^Method lora/ }));
  expect(beside.getByText('Every weight. Cost: 1 ×')).toBeTruthy();
  // What is there already is not offered again.
  fireEvent.keyDown(adder(), { key: 'ArrowDown' });
  expect((await screen.findAllByRole('option')).map(({ textContent }) => textContent)).toEqual([
    'Method dora',
  ]);
  fireEvent.keyDown(screen.getByRole('option'), { key: 'Escape' });
  type('Number of lora', 'many');
  expect([...told.errors.keys()]).toEqual(['method.lora.rank']);
  fireEvent.click(beside.getByRole('button', { name: 'Remove Method lora' }));
  expect(told.parts).toEqual([{ name: 'full', options: { loss: 2 } }]);
  expect(told.errors.size).toBe(0);
  expect(document.activeElement).toBe(adder());
});

test('methods that clash are named with what the plan says of them', () => {
  show(
    [
      { name: 'lora', options: {} },
      { name: 'dora', options: {} },
    ],
    'method.options.methods: lora and dora both decide adapters. Leave one of them out.',
  );
  expect(screen.getByText('Method lora + Method dora do not go together as they are')).toBeTruthy();
  expect(screen.getByText(/lora and dora both decide adapters\. Leave one/)).toBeTruthy();
});

test('a method that the host does not have is named, and can be removed', () => {
  const told = show([
    { name: 'full', options: {} },
    { name: 'gone', options: { x: 1 } },
  ]);
  expect(screen.getByText(/“gone” is not offered/)).toBeTruthy();
  fireEvent.click(screen.getByRole('button', { name: 'Remove gone' }));
  expect(told.parts).toEqual([{ name: 'full', options: {} }]);
});
