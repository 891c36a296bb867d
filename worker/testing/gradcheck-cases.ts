import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder, op } from '#worker/graph/index.ts';
import type { DType, Dim, Graph, Value } from '#worker/graph/index.ts';
import type { CheckOptions } from './gradcheck.ts';

/** For every op of the table, graphs that exercise it, with what a plain formula says the result is. */

/** One graph built around an op. */
export interface OpCase extends CheckOptions {
  /** Name in the op table. */
  readonly op: string;
  readonly title: string;
  readonly build: () => Graph;
  /** Output `y` computed by hand from the input arrays. */
  readonly expected?: (inputs: Readonly<Record<string, readonly number[]>>) => readonly number[];
}

type InputSpec = readonly [name: string, shape: readonly Dim[], dtype?: DType];

/** What a case computes from its inputs, of which it names as many as there are. */
type Body = (a: Value, b: Value, c: Value, d: Value) => Value;

/** A graph `y = body(inputs)`. */
function graphOf(inputs: readonly InputSpec[], body: Body): Graph {
  const builder = new GraphBuilder('case');
  const values = inputs.map(([name, shape, dtype = 'float32']) => builder.input(name, dtype, shape));
  const [a, b = a, c = a, d = a] = values;
  invariant(a !== undefined && b !== undefined && c !== undefined && d !== undefined, 'a case has an input');
  builder.output('y', body(a, b, c, d));
  return builder.build();
}

const shapes = { N: 3, M: 2, B: 2, S: 3 };

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

function one(
  name: string,
  title: string,
  inputs: readonly InputSpec[],
  body: Body,
  more: Partial<OpCase> = {},
): OpCase {
  const wrt = inputs.filter(([, , dtype = 'float32']) => dtype === 'float32').map(([input]) => input);
  return {
    op: name,
    title: `${name} ${title}`,
    build: () => graphOf(inputs, body),
    shapes,
    wrt,
    ...more,
  };
}

const matmulCases = [false, true].flatMap((transA) =>
  [false, true].flatMap((transB) => {
    const a = (leading: readonly Dim[]): readonly Dim[] => [...leading, ...(transA ? [4, 'N'] : ['N', 4])];
    const b = (leading: readonly Dim[]): readonly Dim[] => [...leading, ...(transB ? [5, 4] : [4, 5])];
    const body: Body = (x, y) => op.matmul(x, y, { transA, transB, alpha: transA ? 1 : 0.5 });
    const flags = `transA ${transA} transB ${transB}`;
    return [
      one(
        'matmul',
        `2-D ${flags}`,
        [
          ['a', a([])],
          ['b', b([])],
        ],
        body,
      ),
      one(
        'matmul',
        `batched ${flags}`,
        [
          ['a', a(['B', 2])],
          ['b', b(['B', 2])],
        ],
        body,
      ),
      ...(transA
        ? []
        : [
            one(
              'matmul',
              `shared b ${flags}`,
              [
                ['a', a(['B', 2])],
                ['b', b([])],
              ],
              body,
            ),
          ]),
      one(
        'gemm',
        flags,
        [
          ['a', a([])],
          ['b', b([])],
          ['c', ['N', 5]],
        ],
        (x, y, z) => op.gemm(x, y, z, { transA, transB, alpha: 0.5 }),
      ),
      one(
        'gemm',
        `bias ${flags}`,
        [
          ['a', a([])],
          ['b', b([])],
          ['c', [5]],
        ],
        (x, y, z) => op.gemm(x, y, z, { transA, transB }),
      ),
    ];
  }),
);

const rotaryCases = [false, true].flatMap((interleaved) =>
  [6, 4].map((rotaryDim) =>
    one(
      'rotary',
      `${interleaved ? 'interleaved' : 'halves'} ${rotaryDim} of 6`,
      [
        ['x', ['B', 2, 'S', 6]],
        ['positions', ['B', 'S'], 'int64'],
        ['cos', [5, rotaryDim / 2]],
        ['sin', [5, rotaryDim / 2]],
      ],
      (x, positions, cos, sin) => op.rotary(x, positions, cos, sin, { interleaved, rotaryDim }),
      { wrt: ['x'], values: { positions: [0, 1, 2, 4, 3, 0] } },
    ),
  ),
);

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** A plain function of each row of four elements. */
function rows(formula: (row: readonly number[]) => readonly number[]): NonNullable<OpCase['expected']> {
  return ({ x = [] }) =>
    Array.from({ length: x.length / 4 }, (_unused, i) => x.slice(4 * i, 4 * i + 4)).flatMap(formula);
}

const squared = (x: number): number => x * x;

/** Every case; the tests require that each op of the table has one. */
export const opCases: readonly OpCase[] = [
  one('constant', 'times x', [['x', ['N', 2]]], (x) =>
    op.mul(x, x.sink.constant({ dtype: 'float32', shape: [2], data: [2, 3] })),
  ),

  one('reshape', 'one symbolic size', [['x', ['N', 6]]], (x) => op.reshape(x, ['N', 2, 3])),
  one('reshape', 'merging', [['x', ['B', 'S', 4]]], (x) => op.reshape(x, [-1, 4])),
  one(
    'reshape',
    'taking apart by sizes of another input',
    [
      ['x', ['R', 4]],
      ['like', ['B', 'S']],
    ],
    (x, like) => op.mul(op.reshape(x, ['B', 'S', 2, 2]), op.unsqueeze(like, { axes: [2, 3] })),
    { shapes: { ...shapes, R: 6 } },
  ),
  one('unsqueeze', 'front and back', [['x', ['N', 3]]], (x) => op.unsqueeze(x, { axes: [0, -1] })),
  one('squeeze', 'two axes', [['x', [1, 'N', 1]]], (x) => op.squeeze(x, { axes: [0, -1] })),
  one('expand', 'symbolic', [['x', ['N', 1, 2]]], (x) => op.expand(x, [2, 'N', 3, 2])),
  one(
    'expand',
    'to several symbolic sizes',
    [
      ['x', []],
      ['like', ['B', 'S']],
    ],
    (x, like) => op.mul(op.expand(x, ['S', 'B', 2]), op.reduceSum(like, { axes: [0, 1] })),
  ),
  one('reduceSum', 'axis 0', [['x', ['N', 4]]], (x) => op.reduceSum(x, { axes: [0] })),
  one('reduceSum', 'two axes kept', [['x', [2, 'N', 3]]], (x) =>
    op.reduceSum(x, { axes: [0, -1], keepDims: true }),
  ),
  one('reduceSum', 'rows', [['x', ['N', 4]]], (x) => op.reduceSum(x, { axes: [-1] }), {
    expected: rows((row) => [sum(row)]),
  }),

  one('cast', 'from float64 and back', [['x', ['N', 2]]], (x) => op.cast(op.cast(x, 'float64'), 'float32')),
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
  one(
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
  one(
    'where',
    'with broadcasting',
    [
      ['a', ['N', 4]],
      ['b', [4]],
    ],
    (a, b) => op.where(op.greater(a, 0), op.square(a), b),
  ),
  one('where', 'with a number', [['a', ['N', 4]]], (a) => op.where(op.less(a, 0), 3, a)),

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
  ...unary('square', op.square, squared),
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

  one('transpose', '3-D', [['x', [2, 'N', 3]]], (x) => op.transpose(x, { perm: [2, 0, 1] })),
  one('slice', 'middle', [['x', ['N', 5]]], (x) => op.slice(x, { axis: -1, start: 1, end: 3 })),
  one('slice', 'to the end', [['x', ['N', 5]]], (x) => op.slice(x, { axis: 1, start: 2 })),
  one('split', 'one piece unused', [['x', ['N', 6]]], (x) => {
    const [first = x, , last = x] = op.split(x, { axis: 1, sizes: [2, 3, 1] });
    return op.mul(first, last);
  }),
  one(
    'concat',
    'columns',
    [
      ['a', ['N', 2]],
      ['b', ['N', 3]],
    ],
    (a, b) => op.concat([a, b, a], { axis: -1 }),
  ),

  one('size', 'of symbolic axes', [['x', ['N', 'M']]], (x) => op.div(x, op.sizeOf(x, ['N', 'M'], 'float32'))),
  one('reduceMean', 'symbolic axis', [['x', ['N', 4]]], (x) => op.reduceMean(x, { axes: [0] })),
  one('reduceMean', 'rows', [['x', ['N', 4]]], (x) => op.reduceMean(x, { axes: [1], keepDims: true }), {
    expected: rows((row) => [sum(row) / 4]),
  }),
  one('reduceMax', 'rows', [['x', ['N', 4]]], (x) => op.reduceMax(x, { axes: [1] }), {
    expected: rows((row) => [Math.max(...row)]),
  }),
  one('reduceMax', 'all', [['x', ['N', 4]]], (x) => op.reduceMax(x, { axes: [0, 1], keepDims: true })),
  one('softmax', 'rows', [['x', ['N', 4]]], op.softmax, {
    expected: rows((row) => row.map((v) => Math.exp(v) / sum(row.map(Math.exp)))),
  }),
  one('softmax', '4-D', [['x', ['B', 2, 'S', 3]]], op.softmax),
  one('logSoftmax', 'rows', [['x', ['N', 4]]], op.logSoftmax, {
    expected: rows((row) => row.map((v) => v - Math.log(sum(row.map(Math.exp))))),
  }),
  one('logSumExp', 'rows', [['x', ['N', 4]]], (x) => op.logSumExp(x), {
    expected: rows((row) => [Math.log(sum(row.map(Math.exp)))]),
  }),
  one('logSumExp', 'of large numbers', [['x', [1, 4]]], (x) => op.logSumExp(x, { keepDims: true }), {
    values: { x: [1000, 1000, 999, -1000] },
    expected: () => [1000 + Math.log(2 + Math.exp(-1))],
  }),

  ...matmulCases,

  {
    op: 'gather',
    title: 'gather rows, also of half floats',
    build: () =>
      graphOf(
        [
          ['table', [3, 2], 'bfloat16'],
          ['ids', ['N'], 'int64'],
        ],
        (table, ids) => op.cast(op.gather(table, ids, { axis: 0 }), 'float32'),
      ),
    shapes,
    values: { table: [0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0], ids: [2, 0, 2] },
    expected: () => [5, 6, 1, 2, 5, 6],
  },
  one(
    'gatherElements',
    'unique indices',
    [
      ['x', ['N', 4]],
      ['i', ['N', 2], 'int64'],
    ],
    (x, i) => op.gatherElements(x, i, { axis: -1 }),
    { values: { i: [0, 3, 2, 1, 1, 0] } },
  ),
  one(
    'scatterElements',
    'unique indices',
    [
      ['x', ['N', 4]],
      ['i', ['N', 2], 'int64'],
      ['u', ['N', 2]],
    ],
    (x, i, u) => op.scatterElements(x, i, u, { axis: 1 }),
    { values: { i: [0, 3, 2, 1, 1, 0] } },
  ),
  {
    op: 'topK',
    title: 'topK of rows',
    build: () =>
      graphOf([['x', ['N', 4]]], (x) => {
        const { values, indices } = op.topK(x, { k: 2 });
        return op.add(values, op.mul(op.cast(indices, 'float32'), 10));
      }),
    shapes,
    expected: rows((row) => {
      const order = row.map((_value, i) => i).sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0));
      return order.slice(0, 2).map((i) => (row[i] ?? 0) + 10 * i);
    }),
  },

  one(
    'rmsNorm',
    'rows',
    [
      ['x', ['N', 4]],
      ['w', [4]],
    ],
    (x, w) => op.rmsNorm(x, w, { eps: 1e-5 }),
    {
      expected: ({ x = [], w = [] }) =>
        rows((row) => row.map((v, i) => (v * (w[i] ?? NaN)) / Math.sqrt(sum(row.map(squared)) / 4 + 1e-5)))({
          x,
        }),
    },
  ),
  one(
    'rmsNorm',
    '4-D',
    [
      ['x', ['B', 2, 'S', 4]],
      ['w', [4]],
    ],
    (x, w) => op.rmsNorm(x, w, { eps: 1e-2 }),
  ),
  one(
    'layerNorm',
    'rows',
    [
      ['x', ['N', 4]],
      ['w', [4]],
      ['b', [4]],
    ],
    (x, w, b) => op.layerNorm(x, w, b, { eps: 1e-5 }),
    {
      expected: ({ x = [], w = [], b = [] }) =>
        rows((row) => {
          const mean = sum(row) / 4;
          const deviation = Math.sqrt(sum(row.map((v) => squared(v - mean))) / 4 + 1e-5);
          return row.map((v, i) => ((v - mean) / deviation) * (w[i] ?? NaN) + (b[i] ?? NaN));
        })({ x }),
    },
  ),

  ...rotaryCases,
  one(
    'rotary',
    'by hand',
    [
      ['x', [1, 1, 1, 4]],
      ['positions', [1, 1], 'int64'],
      ['cos', [2, 2]],
      ['sin', [2, 2]],
    ],
    (x, positions, cos, sin) => op.rotary(x, positions, cos, sin),
    {
      wrt: ['x'],
      values: { x: [1, 2, 3, 4], positions: [1], cos: [9, 9, 0.6, 0], sin: [9, 9, 0.8, 1] },
      expected: () => [0.6 - 3 * 0.8, -4, 3 * 0.6 + 0.8, 2],
    },
  ),

  one(
    'crossEntropyRows',
    'rows',
    [
      ['x', ['N', 4]],
      ['labels', ['N'], 'int64'],
    ],
    (x, labels) => op.crossEntropyRows(x, labels),
    {
      values: { labels: [3, 0, 3] },
      expected: ({ x = [], labels = [] }) =>
        labels.map((label, i) => {
          const row = x.slice(4 * i, 4 * i + 4);
          return Math.log(sum(row.map(Math.exp))) - (row[label] ?? NaN);
        }),
    },
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
