import { op } from '#worker/graph/index.ts';
import type { Dim } from '#worker/graph/index.ts';
import { graphOf, oneCase, shapes } from './gradcheck-case.ts';
import type { Body, OpCase } from './gradcheck-case.ts';

/** Cases of the ops on whole tensors: shape, layout, reduction, products, indexing, norms, rotation and loss. */

const matmulCases = [false, true].flatMap((transA) =>
  [false, true].flatMap((transB) => {
    const a = (leading: readonly Dim[]): readonly Dim[] => [...leading, ...(transA ? [4, 'N'] : ['N', 4])];
    const b = (leading: readonly Dim[]): readonly Dim[] => [...leading, ...(transB ? [5, 4] : [4, 5])];
    const body: Body = (x, y) => op.matmul(x, y, { transA, transB, alpha: transA ? 1 : 0.5 });
    const flags = `transA ${transA} transB ${transB}`;
    return [
      oneCase(
        'matmul',
        `2-D ${flags}`,
        [
          ['a', a([])],
          ['b', b([])],
        ],
        body,
      ),
      oneCase(
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
            oneCase(
              'matmul',
              `shared b ${flags}`,
              [
                ['a', a(['B', 2])],
                ['b', b([])],
              ],
              body,
            ),
          ]),
      oneCase(
        'gemm',
        flags,
        [
          ['a', a([])],
          ['b', b([])],
          ['c', ['N', 5]],
        ],
        (x, y, z) => op.gemm(x, y, z, { transA, transB, alpha: 0.5 }),
      ),
      oneCase(
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

/**
 * Numbers that 8 bits hold exactly, and so do those of the gradients: cotangents of all sums are one number. No pair of
 * products exceeds 16 bits, so that every processor adds them right.
 */
const int8Cases = [false, true].map((transB) =>
  oneCase(
    'int8Matmul',
    `transB ${transB}`,
    [
      ['x', ['N', transB ? 3 : 2]],
      ['values', [2, 3], 'int8'],
      ['scales', [2]],
    ],
    (x, values, scales) => op.reduceSum(op.int8Matmul(x, values, scales, { transB }), { axes: [0, 1] }),
    {
      wrt: ['x'],
      values: {
        x: transB ? [127, 3, -20, 0, 0, 0, 1, -127, 90] : [1, 1, -2, 2, 0, -3],
        values: [60, -3, 0, -60, 31, 1],
        scales: [127 / 256, 64 / 256],
      },
    },
  ),
);

const rotaryCases = [false, true].flatMap((interleaved) =>
  [6, 4].map((rotaryDim) =>
    oneCase(
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

/** Cases of the ops on whole tensors. */
export const tensorCases: readonly OpCase[] = [
  oneCase('constant', 'times x', [['x', ['N', 2]]], (x) =>
    op.mul(x, x.sink.constant({ dtype: 'float32', shape: [2], data: [2, 3] })),
  ),

  oneCase('reshape', 'one symbolic size', [['x', ['N', 6]]], (x) => op.reshape(x, ['N', 2, 3])),
  oneCase('reshape', 'merging', [['x', ['B', 'S', 4]]], (x) => op.reshape(x, [-1, 4])),
  oneCase(
    'reshape',
    'taking apart by sizes of another input',
    [
      ['x', ['R', 4]],
      ['like', ['B', 'S']],
    ],
    (x, like) => op.mul(op.reshape(x, ['B', 'S', 2, 2]), op.unsqueeze(like, { axes: [2, 3] })),
    { shapes: { ...shapes, R: 6 } },
  ),
  oneCase('unsqueeze', 'front and back', [['x', ['N', 3]]], (x) => op.unsqueeze(x, { axes: [0, -1] })),
  oneCase('squeeze', 'two axes', [['x', [1, 'N', 1]]], (x) => op.squeeze(x, { axes: [0, -1] })),
  oneCase('expand', 'symbolic', [['x', ['N', 1, 2]]], (x) => op.expand(x, [2, 'N', 3, 2])),
  oneCase(
    'expand',
    'to several symbolic sizes',
    [
      ['x', []],
      ['like', ['B', 'S']],
    ],
    (x, like) => op.mul(op.expand(x, ['S', 'B', 2]), op.reduceSum(like, { axes: [0, 1] })),
  ),
  oneCase('reduceSum', 'axis 0', [['x', ['N', 4]]], (x) => op.reduceSum(x, { axes: [0] })),
  oneCase('reduceSum', 'two axes kept', [['x', [2, 'N', 3]]], (x) =>
    op.reduceSum(x, { axes: [0, -1], keepDims: true }),
  ),
  oneCase('reduceSum', 'rows', [['x', ['N', 4]]], (x) => op.reduceSum(x, { axes: [-1] }), {
    expected: rows((row) => [sum(row)]),
  }),

  oneCase('transpose', '3-D', [['x', [2, 'N', 3]]], (x) => op.transpose(x, { perm: [2, 0, 1] })),
  oneCase('slice', 'middle', [['x', ['N', 5]]], (x) => op.slice(x, { axis: -1, start: 1, end: 3 })),
  oneCase('slice', 'to the end', [['x', ['N', 5]]], (x) => op.slice(x, { axis: 1, start: 2 })),
  oneCase('split', 'one piece unused', [['x', ['N', 6]]], (x) => {
    const [first = x, , last = x] = op.split(x, { axis: 1, sizes: [2, 3, 1] });
    return op.mul(first, last);
  }),
  oneCase(
    'concat',
    'columns',
    [
      ['a', ['N', 2]],
      ['b', ['N', 3]],
    ],
    (a, b) => op.concat([a, b, a], { axis: -1 }),
  ),

  oneCase(
    'count',
    'up to a symbolic axis',
    [['x', ['N', 'M']]],
    (x) => op.cast(op.count(x, 'N'), 'float32'),
    {
      wrt: [],
      expected: () => [0, 1, 2],
    },
  ),
  ...[
    { holds: [0, 1, 1], count: 2, places: [1, 2] },
    { holds: [0, 0, 0], count: 0, places: [] },
  ].map(({ holds, count, places }) =>
    oneCase(
      'nonZero',
      `of ${holds.join(' ')}`,
      [['x', ['N'], 'bool']],
      (x) => op.cast(op.nonZero(x, 'count'), 'float32'),
      { shapes: { ...shapes, count }, values: { x: holds }, expected: () => places },
    ),
  ),
  ...[
    { rows: 2, at: [2, 0] },
    { rows: 0, at: [] },
  ].map(({ rows, at }) =>
    oneCase(
      'addRows',
      `${rows} of 3`,
      [
        ['x', ['N', 2]],
        ['indices', ['rows'], 'int64'],
        ['more', ['rows', 2]],
      ],
      (x, indices, more) => op.addRows(x, indices, more),
      {
        shapes: { ...shapes, rows },
        values: { indices: at },
        expected: ({ x = [], more = [] }) =>
          x.map((value, i) => {
            const row = at.indexOf(Math.floor(i / 2));
            return row < 0 ? value : value + (more[2 * row + (i % 2)] ?? NaN);
          }),
      },
    ),
  ),
  oneCase('size', 'of symbolic axes', [['x', ['N', 'M']]], (x) =>
    op.div(x, op.sizeOf(x, ['N', 'M'], 'float32')),
  ),
  oneCase('reduceMean', 'symbolic axis', [['x', ['N', 4]]], (x) => op.reduceMean(x, { axes: [0] })),
  oneCase('reduceMean', 'rows', [['x', ['N', 4]]], (x) => op.reduceMean(x, { axes: [1], keepDims: true }), {
    expected: rows((row) => [sum(row) / 4]),
  }),
  oneCase('reduceMax', 'rows', [['x', ['N', 4]]], (x) => op.reduceMax(x, { axes: [1] }), {
    expected: rows((row) => [Math.max(...row)]),
  }),
  oneCase('reduceMax', 'all', [['x', ['N', 4]]], (x) => op.reduceMax(x, { axes: [0, 1], keepDims: true })),
  oneCase('softmax', 'rows', [['x', ['N', 4]]], op.softmax, {
    expected: rows((row) => row.map((v) => Math.exp(v) / sum(row.map(Math.exp)))),
  }),
  oneCase('softmax', '4-D', [['x', ['B', 2, 'S', 3]]], op.softmax),
  oneCase('logSoftmax', 'rows', [['x', ['N', 4]]], op.logSoftmax, {
    expected: rows((row) => row.map((v) => v - Math.log(sum(row.map(Math.exp))))),
  }),
  oneCase('logSumExp', 'rows', [['x', ['N', 4]]], (x) => op.logSumExp(x), {
    expected: rows((row) => [Math.log(sum(row.map(Math.exp)))]),
  }),
  oneCase('logSumExp', 'of large numbers', [['x', [1, 4]]], (x) => op.logSumExp(x, { keepDims: true }), {
    values: { x: [1000, 1000, 999, -1000] },
    expected: () => [1000 + Math.log(2 + Math.exp(-1))],
  }),

  ...matmulCases,
  ...int8Cases,

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
  oneCase(
    'gatherElements',
    'unique indices',
    [
      ['x', ['N', 4]],
      ['i', ['N', 2], 'int64'],
    ],
    (x, i) => op.gatherElements(x, i, { axis: -1 }),
    { values: { i: [0, 3, 2, 1, 1, 0] } },
  ),
  oneCase(
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
    op: 'equal',
    title: 'one-hot rows of both index types',
    build: () =>
      graphOf(
        [
          ['a', [2], 'int64'],
          ['b', [2], 'int32'],
        ],
        (a, b) => op.add(op.oneHot(a, 3), op.mul(op.oneHot(b, 3), 10)),
      ),
    values: { a: [2, 0], b: [2, 1] },
    expected: () => [0, 0, 11, 1, 10, 0],
  },
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

  oneCase(
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
  oneCase(
    'rmsNorm',
    '4-D',
    [
      ['x', ['B', 2, 'S', 4]],
      ['w', [4]],
    ],
    (x, w) => op.rmsNorm(x, w, { eps: 1e-2 }),
  ),
  oneCase(
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
  oneCase(
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

  oneCase(
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
