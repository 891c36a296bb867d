import { expect, test } from 'vitest';
import {
  canonicalDim,
  evaluateDim,
  mayBeEqual,
  namesIn,
  productOf,
  quotientOf,
  substituteDims,
  sumOf,
} from './dims.ts';

test('products and sums have one spelling', () => {
  expect(productOf(['S', 4, 'B', 2])).toBe('8*B*S');
  expect(productOf(['B*S', 'A'])).toBe('A*B*S');
  expect(productOf([2, 3])).toBe(6);
  expect(productOf([])).toBe(1);
  expect(productOf(['N', 0])).toBe(0);
  expect(sumOf(['N', 'M', 2, 1])).toBe('(M+N+3)');
  expect(sumOf(['(M+N)', 'A'])).toBe('(A+M+N)');
  expect(sumOf(['N', 0])).toBe('N');
  expect(productOf([sumOf(['N', 'M']), 2])).toBe('2*(M+N)');
});

test('quotients are exact or absent', () => {
  expect(quotientOf('8*B*S', '4*S')).toBe('2*B');
  expect(quotientOf('B*B', 'B')).toBe('B');
  expect(quotientOf('8*B', 3)).toBeUndefined();
  expect(quotientOf('8*B', 'S')).toBeUndefined();
  expect(quotientOf(8, 0)).toBeUndefined();
});

test('different names may be equal, different numbers may not', () => {
  expect(mayBeEqual('8*N', '8*B*S')).toBe(true);
  expect(mayBeEqual('8*N', '4*N')).toBe(false);
  expect(mayBeEqual('8*N', 8)).toBe(false);
  expect(mayBeEqual('B*N', 'B')).toBe(false);
});

test('sizes are evaluated from the sizes of their names', () => {
  expect(evaluateDim('2*(M+N+1)*B', { M: 3, N: 4, B: 5 })).toBe(80);
  expect([...namesIn('2*(M+N)*B')].sort()).toEqual(['B', 'M', 'N']);
  expect(() => evaluateDim('N', {})).toThrow('the size N is not known');
});

test('what is not a size is refused', () => {
  expect(canonicalDim(-1)).toBeUndefined();
  expect(canonicalDim(1.5)).toBeUndefined();
  expect(canonicalDim('a b')).toBeUndefined();
  expect(canonicalDim('S*B')).toBe('B*S');
});

test('sizes take the place of names, and the result has its one spelling', () => {
  const sizes = new Map<string, string | number>([
    ['N', 'B*S'],
    ['M', 3],
  ]);
  expect(substituteDims('2*N', sizes)).toBe('2*B*S');
  expect(substituteDims('(M+N)*A', sizes)).toBe('(B*S+3)*A');
  expect(substituteDims('4*M', sizes)).toBe(12);
  expect(substituteDims(7, sizes)).toBe(7);
});
