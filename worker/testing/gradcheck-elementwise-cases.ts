import { op } from '#worker/graph/index.ts';
import type { Dim, Value } from '#worker/graph/index.ts';
import { graphOf, oneCase, shapes } from './gradcheck-case.ts';
import type { Body, OpCase } from './gradcheck-case.ts';

/** Cases of the elementwise ops: conversion, choice, comparison, arithmetic and functions of one operand. */

function unary(
  name: string,
  body: Body,
  formula: (x: number) => number,
  more: Partial<OpCase> = {},
): readonly OpCase[] {
  return [['N', 4] as const, [2, 'M', 3] as const, [] as const].map((shape) => ({
    op: name,
    title: `${name} of [${shape.join(', ')}]`,
    build: () => graphOf([['x', shape]], body),
    shapes,
    wrt: ['x'],
    expected: ({ x = [] }) => x.map(formula),
    ...more,
  }));
}

const broadcastGrid: readonly (readonly [readonly Dim[], readonly Dim[]])[] = [
  [
    ['N', 4],
    ['N', 4],
  ],
  [['N', 4], [4]],
  [
    ['N', 1],
    ['N', 4],
  ],
  [
    [2, 1, 3],
    [4, 3],
  ],
  [['N', 4], []],
  [
    [1, 'M'],
    ['N', 'M'],
  ],
];

function binary(name: string, body: Body, formula: (a: number, b: number) => number): readonly OpCase[] {
  return broadcastGrid.map(([a, b]) => ({
    op: name,
    title: `${name} of [${a.join(', ')}] and [${b.join(', ')}]`,
    build: () =>
      graphOf(
        [
          ['a', a],
          ['b', b],
        ],
        body,
      ),
    shapes,
    wrt: ['a', 'b'],
    ranges: { b: [0.5, 2] as const },
    ...(a.length === b.length && a.join() === b.join()
      ? {
          expected: ({ a: left = [], b: right = [] }: Readonly<Record<string, readonly number[]>>) =>
            left.map((value, i) => formula(value, right[i] ?? NaN)),
        }
      : {}),
  }));
}

/** An op without a gradient: the result is cast so that it can be compared. */
function compare(
  name: string,
  body: (a: Value, b: Value) => Value,
  formula: (a: number, b: number) => boolean,
): OpCase {
  return {
    op: name,
    title: name,
    build: () =>
      graphOf(
        [
          ['a', [2, 3]],
          ['b', [2, 3]],
        ],
        (a, b) => op.cast(body(a, b), 'float32'),
      ),
    values: { a: [0, 1, 2, 3, 4, 5], b: [0, 2, 1, 3, 5, 4] },
    expected: ({ a = [], b = [] }) => a.map((value, i) => Number(formula(value, b[i] ?? NaN))),
  };
}

function logical(
  name: string,
  body: (a: Value, b: Value) => Value,
  formula: (a: number, b: number) => boolean,
): OpCase {
  return {
    op: name,
    title: name,
    build: () =>
      graphOf(
        [
          ['a', [4], 'bool'],
          ['b', [4], 'bool'],
        ],
        (a, b) => op.cast(body(a, b), 'float32'),
      ),
    values: { a: [0, 0, 1, 1], b: [0, 1, 0, 1] },
    expected: ({ a = [], b = [] }) => a.map((value, i) => Number(formula(value, b[i] ?? NaN))),
  };
}

/** Cases of the elementwise ops. */
export const elementwiseCases: readonly OpCase[] = [
  oneCase('cast', 'from float64 and back', [['x', ['N', 2]]], (x) =>
    op.cast(op.cast(x, 'float64'), 'float32'),
  ),
  {
    op: 'cast',
    title: 'cast of bfloat16 bits',
    build: () => graphOf([['x', [4], 'bfloat16']], (x) => op.cast(x, 'float32')),
    values: { x: [0x3f80, 0xc000, 0x4049, 0x0000] },
    expected: () => [1, -2, 3.140625, 0],
  },
  {
    op: 'cast',
    title: 'cast of float16 bits',
    build: () => graphOf([['x', [4], 'float16']], (x) => op.cast(x, 'float32')),
    values: { x: [0x3c00, 0xc000, 0x4248, 0x0001] },
    expected: () => [1, -2, 3.140625, 2 ** -24],
  },
  {
    op: 'cast',
    title: 'cast of indices',
    build: () => graphOf([['x', [3], 'int64']], (x) => op.cast(x, 'float32')),
    values: { x: [-1, 0, 7] },
    expected: () => [-1, 0, 7],
  },
  {
    op: 'dequantizeRows',
    title: 'dequantizeRows',
    build: () =>
      graphOf(
        [
          ['x', [2, 3], 'int8'],
          ['scales', [2]],
        ],
        op.dequantizeRows,
      ),
    values: { x: [127, -3, 0, -127, 64, 1], scales: [0.5, 3] },
    expected: () => [63.5, -1.5, 0, -381, 192, 3],
  },
  oneCase(
    'stopGradient',
    'beside x',
    [
      ['x', ['N', 2]],
      ['k', ['N', 2]],
    ],
    (x, k) => op.mul(x, op.stopGradient(op.exp(k))),
    { wrt: ['x'] },
  ),
  compare('equal', op.equal, (a, b) => a === b),
  compare('greater', op.greater, (a, b) => a > b),
  compare('less', op.less, (a, b) => a < b),
  compare('greaterOrEqual', op.greaterOrEqual, (a, b) => a >= b),
  compare('lessOrEqual', op.lessOrEqual, (a, b) => a <= b),
  logical('and', op.and, (a, b) => a === 1 && b === 1),
  logical('or', op.or, (a, b) => a === 1 || b === 1),
  logical(
    'not',
    (a) => op.not(a),
    (a) => a === 0,
  ),
  oneCase(
    'where',
    'with broadcasting',
    [
      ['a', ['N', 4]],
      ['b', [4]],
    ],
    (a, b) => op.where(op.greater(a, 0), op.square(a), b),
  ),
  oneCase('where', 'with a number', [['a', ['N', 4]]], (a) => op.where(op.less(a, 0), 3, a)),

  ...binary('add', op.add, (a, b) => a + b),
  ...binary('sub', op.sub, (a, b) => a - b),
  ...binary('mul', op.mul, (a, b) => a * b),
  ...binary('div', op.div, (a, b) => a / b),
  ...binary('maximum', op.maximum, Math.max),
  ...binary('minimum', op.minimum, Math.min),

  ...unary('neg', op.neg, (x) => -x),
  ...unary('exp', op.exp, Math.exp),
  ...unary('log', op.log, Math.log, { ranges: { x: [0.3, 3] } }),
  ...unary('sqrt', op.sqrt, Math.sqrt, { ranges: { x: [0.3, 3] } }),
  ...unary('reciprocal', op.reciprocal, (x) => 1 / x, { ranges: { x: [0.3, 3] } }),
  ...unary('sigmoid', op.sigmoid, (x) => 1 / (1 + Math.exp(-x))),
  ...unary('silu', op.silu, (x) => x / (1 + Math.exp(-x))),
  ...unary('tanh', op.tanh, Math.tanh),
  ...unary('relu', op.relu, (x) => Math.max(x, 0)),
  ...unary(
    'gelu',
    (x) => op.gelu(x),
    (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  ),
  ...unary(
    'gelu',
    (x) => op.gelu(x, { form: 'tanh' }),
    (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  ),
  ...unary('erf', op.erf, erf),
  ...unary('softplus', op.softplus, (x) => Math.log1p(Math.exp(x))),
  ...unary('abs', op.abs, Math.abs),
  ...unary('cos', op.cos, Math.cos),
  ...unary('sin', op.sin, Math.sin),
  ...unary('square', op.square, (x) => x * x),
  ...unary(
    'clip',
    (x) => op.clip(x, { min: -1, max: 0.5 }),
    (x) => Math.min(Math.max(x, -1), 0.5),
  ),
  ...unary(
    'clip',
    (x) => op.clip(x, { max: 0.5 }),
    (x) => Math.min(x, 0.5),
  ),
  ...unary(
    'clip',
    (x) => op.clip(x, { min: 0.5 }),
    (x) => Math.max(x, 0.5),
  ),
  ...unary(
    'pow',
    (x) => op.pow(x, 1.5),
    (x) => x ** 1.5,
    { ranges: { x: [0.3, 3] } },
  ),
];

/** The error function by Simpson's rule on its integral, for the expected values only. */
function erf(x: number): number {
  const steps = 2000;
  const h = x / steps;
  const density = (t: number): number => Math.exp(-t * t);
  let total = density(0) + density(x);
  for (let i = 1; i < steps; i++) total += (i % 2 === 1 ? 4 : 2) * density(i * h);
  return ((2 / Math.sqrt(Math.PI)) * total * h) / 3;
}
