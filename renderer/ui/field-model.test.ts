import { expect, test } from 'vitest';
import { z } from 'zod';
import { RunSpec } from '#core/contract/run-spec.ts';
import {
  chosen,
  differs,
  emptyMeaning,
  type Field,
  fieldsOf,
  limitsText,
  parseField,
  schemaAt,
  valueText,
} from './field-model.ts';

const schema = z.toJSONSchema(
  z.strictObject({
    phase: z.enum(['bias', 'both']).default('both').meta({ title: 'Phase', description: 'Which part.' }),
    speed: z.number().min(0).default(1e-4).meta({ title: 'Speed', unit: 'per update' }),
    split: z.number().gt(0).lt(1).default(0.5),
    perLayer: z.union([z.int().min(0), z.array(z.int().min(0)).min(1)]).default(2),
    clip: z.number().positive().nullable().default(null).meta({
      title: 'Largest bias',
      description: 'null: unbounded.',
      advanced: true,
    }),
    file: z.string().nullable().default(null),
    pads: z.boolean().default(false),
    rows: z
      .union([z.boolean(), z.literal('buckets')])
      .default(true)
      .meta({ description: 'true: shared; false: single.' }),
    threads: z.union([z.literal('auto'), z.int().positive()]).default('auto'),
    targets: z.array(z.enum(['query', 'value'])).default(['query']),
    rates: z.array(z.number().positive()).optional().meta({ title: 'Rates' }),
    fixed: z.literal('adamw').default('adamw'),
  }),
  { io: 'input' },
);

function field(key: string): Field {
  const found = fieldsOf(schema).find((candidate) => candidate.key === key);
  if (found === undefined) throw new Error(`no field ${key}`);
  return found;
}

test('every option becomes a field of its kind, and constants none', () => {
  expect(fieldsOf(schema).map(({ key, kind }) => [key, kind])).toEqual([
    ['phase', 'choice'],
    ['speed', 'number'],
    ['split', 'number'],
    ['perLayer', 'numbers'],
    ['clip', 'number'],
    ['file', 'text'],
    ['pads', 'switch'],
    ['rows', 'choice'],
    ['threads', 'number'],
    ['targets', 'several'],
    ['rates', 'numbers'],
  ]);
});

test('title, description, unit, choices, default and advanced come from the schema', () => {
  expect(field('phase')).toMatchObject({
    title: 'Phase',
    description: 'Which part.',
    choices: ['bias', 'both'],
  });
  expect(field('speed')).toMatchObject({ unit: 'per update', defaultValue: 1e-4, advanced: false });
  expect(field('clip')).toMatchObject({ advanced: true, nullable: true, defaultValue: null });
  expect(field('perLayer').title).toBe('Per layer');
});

test('several of some names are separated by commas or spaces, and an unknown one is named', () => {
  expect(parseField(field('targets'), 'query, value')).toEqual({ value: ['query', 'value'] });
  expect(parseField(field('targets'), '')).toEqual({ value: undefined });
  expect(parseField(field('targets'), 'query keys')).toEqual({
    error: 'Targets: "keys" is none of query, value',
  });
  expect(valueText(['query', 'value'])).toBe('query, value');
});

test('text is parsed within the limits, and an error names the field and what was expected', () => {
  expect(parseField(field('speed'), '5e-5')).toEqual({ value: 5e-5 });
  expect(parseField(field('speed'), '-1')).toEqual({ error: 'Speed: expected a number at least 0' });
  expect(parseField(field('split'), '1')).toEqual({ error: 'Split: expected a number above 0 and below 1' });
  expect(parseField(field('threads'), '1.5')).toEqual({
    error: 'Threads: expected a whole number above 0 or "auto"',
  });
  expect(parseField(field('threads'), 'auto')).toEqual({ value: 'auto' });
});

test('one number or several', () => {
  expect(parseField(field('perLayer'), '3')).toEqual({ value: 3 });
  expect(parseField(field('perLayer'), '2, 2,4')).toEqual({ value: [2, 2, 4] });
  expect(parseField(field('perLayer'), '2, x')).toEqual({
    error: 'Per layer: expected a whole number at least 0',
  });
});

test('each entry of a list keeps the limits, and one alone is a list too', () => {
  expect(parseField(field('rates'), '1e-4, 3e-4')).toEqual({ value: [1e-4, 3e-4] });
  expect(parseField(field('rates'), '1e-4')).toEqual({ value: [1e-4] });
  expect(parseField(field('rates'), '')).toEqual({ value: undefined });
  expect(parseField(field('rates'), '1e-4, 0')).toEqual({ error: 'Rates: expected a number above 0' });
});

test('empty means the default, or nothing where nothing is allowed', () => {
  expect(parseField(field('speed'), ' ')).toEqual({ value: undefined });
  expect(parseField(field('clip'), '')).toEqual({ value: null });
  expect([emptyMeaning(field('speed')), emptyMeaning(field('clip'))]).toEqual(['1e-4', 'none']);
  expect(field('clip').description).toBe('none: unbounded.');
  expect(emptyMeaning(field('pads'))).toBe('off');
});

test('a switch with a third position is a choice, in the words of a form', () => {
  const { choices, description } = field('rows');
  expect(choices).toEqual([true, false, 'buckets']);
  expect(choices.map(valueText)).toEqual(['on', 'off', 'buckets']);
  expect(['on', 'off', 'buckets'].map((text) => chosen(field('rows'), text))).toEqual(choices);
  expect(description).toBe('on: shared; off: single.');
  expect(emptyMeaning(field('rows'))).toBe('on');
});

test('a value differs only when it is not the default', () => {
  expect([
    differs(field('speed'), undefined),
    differs(field('speed'), 1e-4),
    differs(field('speed'), 1e-3),
  ]).toEqual([false, false, true]);
  expect(differs(field('perLayer'), [2])).toBe(true);
});

test('limits in words, values as text', () => {
  const ratio = fieldsOf(schemaAt(z.toJSONSchema(RunSpec, { io: 'input' }), 'train')).find(
    (f) => f.key === 'warmupRatio',
  );
  expect(ratio && limitsText(ratio)).toBe('0 to 1');
  expect([valueText([0.9, 0.999]), valueText(1e-8), valueText(null), valueText(0)]).toEqual([
    '0.9, 0.999',
    '1e-8',
    '',
    '0',
  ]);
});
