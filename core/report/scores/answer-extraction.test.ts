import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  extractExpression,
  extractLabel,
  extractNumber,
  normalExpression,
  statedAnswer,
} from './answer-extraction.ts';

describe('numbers, by the published rule and by ours', () => {
  test.each([
    ['The answer is 1,234.', 1234, 1234],
    ['$5.50 each, total 11.', 11, 11],
    ['2-4=-2', -2, -2],
    ['1e5', 5, 100_000],
    ['There are 3/4 left', 4, 0.75],
    ['Answer: 12%', 12, 12],
    ['7.0.1', 1, null],
    ['answer is 7.\n\nQuestion: Tom has 9', 9, 7],
    ['<think>3+4=7</think>\\boxed{7}', 7, 7],
    ['3 of them, so \\boxed{\\frac{3}{4}} of 8', 8, 0.75],
    ['on 3/4/2024', 2024, null],
    ['0.5 or .5', 5, 0.5],
    ['1,23', 123, 23],
    ['one half of 1/0', 0, null],
    ['None.', null, null],
  ])('%s', (text, published, preferred) => {
    expect(extractNumber(text, 'published')).toBe(published);
    expect(extractNumber(text, 'preferred')).toBe(preferred);
  });
});

describe('letters, by the published rule and by ours', () => {
  test.each([
    ['Answer: C', 'A', 'C'],
    ['Because 3+4=7, the answer is D', 'B', 'D'],
    ['The answer is B', 'B', 'B'],
    ['Convert: 3 km', 'C', null],
    ['<think>Let us compute</think>\\boxed{D}', 'D', 'D'],
    ['The answer is (B), not A', 'B', 'B'],
  ])('%s', (text, published, preferred) => {
    const letters = ['A', 'B', 'C', 'D', 'E'];
    expect(extractLabel(text, letters, 'published')).toBe(published);
    expect(extractLabel(text, letters, 'preferred')).toBe(preferred);
  });
});

test('words are labels in any case; the published rule takes the first', () => {
  const labels = ['true', 'false'];
  const text = 'It is not true. The correct answer is False.';
  expect(extractLabel(text, labels, 'published')).toBe('true');
  expect(extractLabel(text, labels, 'preferred')).toBe('false');
});

test('of a formula the last box whose braces balance counts, without what only changes its looks', () => {
  const text = 'so \\boxed{1} or rather \\boxed{\\left( \\dfrac{1}{2}, \\text{ or } 3 \\right)} \\boxed{';
  for (const rule of ['published', 'preferred'] as const)
    expect(extractExpression(text, rule)).toBe('(\\frac{1}{2},or3)');
  expect(extractExpression('x = 2.', 'published')).toBeNull();
  expect(extractExpression('x = 2.', 'preferred')).toBe('x=2');
  expect(normalExpression('$\\tfrac12$')).toBe('\\frac12');
});

test.each([
  ['She makes 9 * 2 = 18.\n#### 18', '18'],
  ['Then 37 - 5 = 32 are left.\nAnswer: 32', '32'],
  ['3 + 4 = 7, so \\boxed{7}.', '7'],
  [' answer3 ', 'answer3'],
])('the right answer stated in %j', (text, stated) => {
  expect(statedAnswer(text)).toBe(stated);
});

/** Answers of models that were published with test sets, beside the right ones. */
const published = path.join(import.meta.dirname, '../../../../shared/data/math');
const rowsOf = (name: string) =>
  JSON.parse(readFileSync(path.join(published, `${name}.test.json`), 'utf8')) as {
    output: string;
    answer: string;
  }[];

describe.runIf(existsSync(published))('on published answers', () => {
  test.each([
    ['gsm8k', 771, 1313],
    ['SVAMP', 803, 1000],
    ['MultiArith', 560, 600],
    ['AddSub', 370, 395],
  ])('%s: the last number is the right one', (name, right, answered) => {
    const rows = rowsOf(name).filter(({ output }) => output.trim() !== '');
    expect(rows).toHaveLength(answered);
    for (const rule of ['published', 'preferred'] as const) {
      const found = rows.map(({ output }) => extractNumber(output, rule));
      const agreeing = rows.filter(({ answer }, at) => Math.abs((found[at] ?? NaN) - Number(answer)) <= 1e-3);
      expect(agreeing).toHaveLength(right);
    }
  });

  test('AQuA: the rule alone moves the score by five points', () => {
    const letters = ['A', 'B', 'C', 'D', 'E'];
    const marks = rowsOf('AQuA').map(({ output, answer }) => ({
      answer,
      first: extractLabel(output, letters, 'published'),
      stated: extractLabel(output, letters, 'preferred'),
    }));
    const count = (test: (mark: (typeof marks)[number]) => boolean) => marks.filter(test).length;
    expect(count(({ first, answer }) => first === answer)).toBe(109);
    expect(count(({ stated, answer }) => stated === answer)).toBe(123);
    const differ = ({ first, stated }: (typeof marks)[number]) => first !== stated;
    expect(count(differ)).toBe(49);
    expect(count((mark) => differ(mark) && mark.first === mark.answer)).toBe(10);
    expect(count((mark) => differ(mark) && mark.stated === mark.answer)).toBe(24);
  });
});
