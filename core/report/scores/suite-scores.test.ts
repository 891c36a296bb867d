import { expect, test } from 'vitest';
import { answerRule, markAnswer } from './suite-scores.ts';

test.each([
  [['1,200', '$3.50', '-2'], 'number', []],
  [['C', 'A', 'F'], 'letter', ['A', 'B', 'C', 'D', 'E', 'F']],
  [['true', 'False', 'true', 'false'], 'label', ['true', 'false']],
  [
    ['option2', 'option1', 'option2', 'option1'],
    'label',
    Array.from({ length: 9 }, (_, n) => `option${n + 1}`),
  ],
  [['\\frac{1}{2}', '3'], 'expression', []],
  [['Paris', 'a river'], 'text', []],
] as const)('answers like %j are of kind %s', (right, kind, labels) => {
  expect(answerRule(right)).toEqual({ kind, labels });
});

test.each([
  ['number', '… 3.0004', '3', true],
  ['number', '… 3.002', '3', false],
  ['number', 'none', '0', false],
  ['letter', 'The answer is B.', 'B', true],
  ['label', 'Answer1 is wrong, answer2 right. The answer is ANSWER2', 'answer2', true],
  ['expression', '\\boxed{0.50001}', '0.5', true],
  ['expression', '\\boxed{ x + 1 }', 'x+1', true],
  ['expression', '\\boxed{2}', 'x', false],
  ['text', ' two\n words ', 'two words', true],
] as const)('%s: %j against %j', (kind, text, right, isRight) => {
  const rule = answerRule(kind === 'label' ? ['answer1', 'answer2'] : [right], kind);
  expect(markAnswer(text, right, rule, 'preferred').isRight).toBe(isRight);
});
