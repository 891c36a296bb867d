import { expect, test } from 'vitest';
import { fieldOf, mapColumn, mapRole, missingFields, roleOf, rolesToMap } from './mapping-fields.ts';

test('a field has one column and a column one field', () => {
  const mapping = { prompt: 'question', response: 'answer' };
  expect(mapColumn(mapping, 'solution', 'response')).toEqual({ prompt: 'question', response: 'solution' });
  expect(mapColumn(mapping, 'answer', 'prompt')).toEqual({ prompt: 'answer' });
  expect(mapColumn(mapping, 'answer', 'none')).toEqual({ prompt: 'question' });
});

test('roles mapped by name are kept', () => {
  expect(mapColumn({ messages: 'turns', 'role.bot': 'assistant' }, 'chat', 'messages')).toEqual({
    messages: 'chat',
    'role.bot': 'assistant',
  });
});

test('roles of other names are found in the conversations and mapped by hand', () => {
  const turns = JSON.stringify([{ role: 'user' }, { from: 'bot' }, { from: 'gpt' }, { role: 3 }, null]);
  expect(rolesToMap({ messages: 'turns' }, [turns, turns, '"no list"'])).toEqual(['bot']);
  const mapped = mapRole({ messages: 'turns' }, 'bot', 'assistant');
  expect(mapped).toEqual({ messages: 'turns', 'role.bot': 'assistant' });
  expect(rolesToMap(mapped, [])).toEqual(['bot']);
  expect([roleOf(mapped, 'bot'), roleOf(mapped, 'human'), roleOf(mapped, 'tool')]).toEqual([
    'assistant',
    'user',
    undefined,
  ]);
  // A column may be called like a role.
  expect(fieldOf(mapped, 'assistant')).toBe('none');
  expect(mapColumn(mapped, 'assistant', 'none')).toEqual(mapped);
});

test('the head of a column shows its field', () => {
  expect(fieldOf({ prompt: 'q' }, 'q')).toBe('prompt');
  expect(fieldOf({ prompt: 'q' }, 'id')).toBe('none');
});

test('what is missing is named', () => {
  expect(missingFields({})).toContain('prompt and the response');
  expect(missingFields({ prompt: 'q' })).toBe('Say which column holds the response.');
  expect(missingFields({ response: 'a' })).toBe('Say which column holds the prompt.');
  expect([{ text: 't' }, { messages: 'm' }, { prompt: 'q', response: 'a' }].map(missingFields)).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});
