import { expect, test } from 'vitest';
import { InvariantError } from '#core/contract/errors.ts';
import { GraphBuilder, op, print, verify } from './index.ts';
import type { Value } from './index.ts';

type Inputs = Record<'x' | 'w' | 'v' | 'i' | 'half' | 'flag' | 'cube', Value>;

function inputs(builder: GraphBuilder): Inputs {
  return {
    x: builder.input('x', 'float32', ['N', 4]),
    w: builder.input('w', 'float32', [5, 6]),
    v: builder.input('v', 'float64', [4]),
    i: builder.input('i', 'int64', ['N']),
    half: builder.input('half', 'bfloat16', ['N', 4]),
    flag: builder.input('flag', 'bool', ['N', 4]),
    cube: builder.input('cube', 'float32', [2, 'N', 4]),
  };
}

test.each<[string, (at: Inputs) => unknown, string]>([
  [
    'inner sizes',
    ({ x, w }) => op.matmul(x, w),
    'matmul: inner sizes 4 and 5 differ: float32[N, 4] and float32[5, 6]',
  ],
  [
    'transposed sizes',
    ({ x, w }) => op.matmul(x, w, { transB: true }),
    'matmul: inner sizes 4 and 6 differ: float32[N, 4] and float32[5, 6] transposed',
  ],
  [
    'batches',
    ({ cube, x }) => op.matmul(x, cube),
    'leading sizes differ: float32[N, 4] and float32[2, N, 4]',
  ],
  ['vectors', ({ x, i }) => op.matmul(x, op.cast(i, 'float32')), 'matmul: needs matrices'],
  ['broadcasting', ({ x, w }) => op.add(x, w), 'add: shapes [N, 4] and [5, 6] do not broadcast: N against 5'],
  ['element types', ({ x, v }) => op.mul(x, v), 'mul: element types differ: float32[N, 4] and float64[4]'],
  [
    'half floats',
    ({ half }) => op.exp(half),
    'exp: computes on float32 or float64, got bfloat16[N, 4]; cast it first',
  ],
  ['arithmetic on half floats', ({ half }) => op.add(half, half), 'add: does not compute on bfloat16[N, 4]'],
  ['conditions', ({ x }) => op.where(x, x, 0), 'where: takes bool, got float32[N, 4]'],
  ['logic', ({ x, flag }) => op.and(x, flag), 'and: takes bool, got float32[N, 4]'],
  [
    'element counts',
    ({ x }) => op.reshape(x, ['N', 3]),
    'reshape: float32[N, 4] has 4*N elements, [N, 3] has 3*N',
  ],
  ['left-over sizes', ({ x }) => op.reshape(x, [-1, 3]), 'reshape: float32[N, 4] has 4*N elements, [-1, 3]'],
  ['axes', ({ x }) => op.reduceSum(x, { axes: [2] }), 'reduceSum: axis 2 is outside float32[N, 4]'],
  ['axes named twice', ({ x }) => op.reduceMax(x, { axes: [1, -1] }), 'axes [1, 1] name an axis twice'],
  ['squeezing', ({ x }) => op.squeeze(x, { axes: [0] }), 'squeeze: axis 0 of float32[N, 4] is not of size 1'],
  ['expanding', ({ x }) => op.expand(x, ['N', 8]), 'expand: shapes [N, 4] and [N, 8] do not broadcast'],
  ['shrinking', ({ x }) => op.expand(x, ['N', 1]), 'expand: float32[N, 4] does not expand to [N, 1]'],
  [
    'permutations',
    ({ x }) => op.transpose(x, { perm: [0, 0] }),
    'transpose: [0, 0] is not an order of the axes',
  ],
  ['slices', ({ x }) => op.slice(x, { axis: 1, start: 2, end: 5 }), 'slice: slice 2..5 is outside axis 1'],
  [
    'open slices',
    ({ x }) => op.slice(x, { axis: 0, start: 1 }),
    'slice: a slice of float32[N, 4] along N needs an end',
  ],
  ['pieces', ({ x }) => op.split(x, { axis: 1, sizes: [1, 2] }), 'split: sizes [1, 2] add up to 3, axis 1'],
  [
    'joining',
    ({ x, cube }) => op.concat([x, cube], { axis: 0 }),
    'concat: float32[N, 4] and float32[2, N, 4] differ',
  ],
  [
    'indices',
    ({ x }) => op.gather(x, x, { axis: 0 }),
    'gather: indices are int64 or int32, got float32[N, 4]',
  ],
  ['element indices', ({ x, i }) => op.gatherElements(x, i, { axis: 1 }), 'differ outside axis 1'],
  ['top-k', ({ x }) => op.topK(x, { k: 5 }), 'topK: k = 5 is outside the last axis of float32[N, 4]'],
  [
    'norm weights',
    ({ x, w }) => op.rmsNorm(x, w, { eps: 0 }),
    'rmsNorm: needs one weight per element of the last axis',
  ],
  ['labels', ({ x }) => op.crossEntropyRows(x, x), 'needs one int64 label per row of float32[N, 4]'],
  ['rotation', ({ x, i }) => op.rotary(x, i, x, x), 'rotary: rotates x_BHSD, got float32[N, 4]'],
  ['limits', ({ x }) => op.clip(x, { min: 2, max: 1 }), 'clip: min 2 is above max 1'],
])('a mistake in %s is reported with both types', (_what, build, message) => {
  const builder = new GraphBuilder('decoder');
  const at = inputs(builder);
  expect(() => build(at)).toThrow(InvariantError);
  expect(() => build(at)).toThrow(message);
});

test('an error names the graph and the path of scopes, and the scope is closed afterwards', () => {
  const builder = new GraphBuilder('decoder');
  const { x, w } = inputs(builder);
  const build = (): Value => builder.scope('layers.3', () => builder.scope('router', () => op.matmul(x, w)));
  expect(build).toThrow(/^decoder\.layers\.3\.router: matmul: /);
  expect(() => op.add(x, w)).toThrow(/^decoder: add: /);
});

test('names are declared once and belong to the graph', () => {
  const builder = new GraphBuilder('g');
  const x = builder.input('x', 'float32', ['N']);
  expect(() => builder.input('x', 'float32', [1])).toThrow("g: input 'x' is declared twice");
  expect(() => builder.input('y', 'float32', [-1])).toThrow("g: input 'y': '-1' is not a size");
  const other = new GraphBuilder('other').input('x', 'float32', ['N']);
  expect(() => op.add(x, other)).toThrow("g: add: mixes a value of graph 'other' with graph 'g'");
  expect(() => builder.output('z', other)).toThrow("g: output 'z' is a value of graph 'other'");
  builder.output('z', x);
  expect(() => builder.output('z', x)).toThrow("g: output 'z' is named twice");
  builder.output('x', x);
  expect(() => builder.build()).toThrow("g: 'x' names both an input and an output");
});

test('a constant fills its shape', () => {
  const builder = new GraphBuilder('g');
  expect(() => builder.constant({ dtype: 'float32', shape: [2, 2], data: [1] })).toThrow(
    'constant: shape [2, 2] holds 4 elements, the data has 1',
  );
});

test('a graph holds only what its outputs need, in order, and prints with scopes and attributes', () => {
  const builder = new GraphBuilder('small');
  const x = builder.input('x', 'float32', ['N', 4]);
  op.exp(x);
  builder.scope('layers.3', () => {
    const { values, indices } = op.topK(op.softmax(x), { k: 2 });
    builder.output('weights', op.mul(values, 2));
    builder.output('ids', indices);
  });
  const graph = builder.build();
  verify(graph);
  expect(print(graph)).toMatchInlineSnapshot(`
    "graph small(x: float32[N, 4]) {
      %0 = softmax(x) : float32[N, 4]  # layers.3
      %1, %2 = topK(%0) {k: 2} : float32[N, 2], int64[N, 2]  # layers.3
      %3 = constant() {dtype: float32, shape: [], data: [2]} : float32[]  # layers.3
      %4 = mul(%1, %3) : float32[N, 2]  # layers.3
      return weights = %4, ids = %2
    }
    "
  `);
});
