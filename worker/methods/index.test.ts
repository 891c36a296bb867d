import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import { contextOf } from './f0.fixture.ts';
import { familyOf } from '#worker/families/index.ts';
import { describeMethods, startMethod } from './index.ts';

const methods = describeMethods();
const manual = readFileSync(join(import.meta.dirname, '../../docs/methods.md'), 'utf8');

test('the methods, in the order of the form', () => {
  expect(methods.map(({ name }) => name)).toEqual([
    'full',
    'frozen-router',
    'lora',
    'dora',
    'smt',
    'esft',
    'loss-free-balancing',
    'expert-condenser',
    'densemixer',
    'default-moe',
    'ds-moe',
    'evomoe',
    'transformed-gate',
    'local-expert',
    'base-assignment',
    'hash-routing',
    'stablemoe',
  ]);
});

test.each(methods)('$name tells a person what it is, and what each option does', (method) => {
  for (const sentence of [method.title, method.trains, method.cost, method.source])
    expect(sentence).not.toBe('');
  const { properties } = method.optionsSchema;
  for (const [name, field] of Object.entries(properties as Record<string, Record<string, unknown>>)) {
    expect([typeof field['title'], typeof field['description']], name).toEqual(['string', 'string']);
    expect(field, name).toHaveProperty('default');
  }
  expect(manual).toContain(`\`${method.name}\``);
});

test('a method for experts is refused for a model without any, others are not', () => {
  const dense = familyOf({ model_type: 'llama' }).plan({
    vocab_size: 4,
    hidden_size: 2,
    intermediate_size: 2,
    num_hidden_layers: 1,
    num_attention_heads: 1,
  });
  const context = { ...contextOf(1), plan: dense, moeLayers: 0 };
  const refusal = (name: string): string | null => {
    try {
      startMethod(name, {}, context);
      return null;
    } catch (error) {
      if (error instanceof UserError) return error.code;
      throw error;
    }
  };
  const others = methods.filter(({ name }) => refusal(name) !== 'method/needs-experts');
  expect(others.map(({ name }) => [name, refusal(name)])).toEqual([
    ['full', null],
    ['lora', null],
    ['dora', null],
    // It misses its warm-up here.
    ['smt', 'smt/no-submatrices'],
  ]);
});

test.each(methods)('$name starts with its defaults', ({ name }) => {
  const expertScores = { token: [[0.5, 0.25, 0.25]], gate: [[0.25, 0.125, 0.125]] };
  const submatrices = { kind: 'submatrices', size: 2, places: new Map() } as const;
  const session = startMethod(name, {}, { ...contextOf(2), expertScores, submatrices });
  const saved = session.save();
  session.restore(JSON.parse(JSON.stringify(saved)));
  expect(session.save()).toEqual(saved);
});

const dense = { hidden_size: 4, vocab_size: 8, num_hidden_layers: 1, num_attention_heads: 1 };
const planOf = (config: Readonly<Record<string, unknown>>) =>
  familyOf(config).plan({ ...dense, intermediate_size: 2, ...config });

test.each([
  'loss-free-balancing',
  'expert-condenser',
  'densemixer',
  'default-moe',
  'ds-moe',
  'evomoe',
  'base-assignment',
  'hash-routing',
  'stablemoe',
])('%s does not change the gate weights of SparseMixer', (name) => {
  const context = { ...contextOf(2), plan: planOf({ model_type: 'phimoe', num_local_experts: 4 }) };
  expect(() => startMethod(name, {}, context)).toThrow('SparseMixer');
  expect(() => startMethod('full', {}, context)).not.toThrow();
});
