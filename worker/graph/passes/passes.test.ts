import { expect, test } from 'vitest';
import {
  GraphBuilder,
  accumulate,
  gradient,
  hash,
  joinRows,
  op,
  print,
  toFloat64,
  verify,
} from '../index.ts';
import type { Graph } from '../index.ts';
import { fuseGemm } from './fuse-gemm.ts';
import { mergeEqual } from './merge-equal.ts';

const names = (graph: Graph): readonly string[] => graph.nodes.map((node) => node.op.name);

function twoProducts(): Graph {
  const builder = new GraphBuilder('g');
  const [a, b] = [builder.input('a', 'float32', ['N', 4]), builder.input('b', 'float32', ['N', 6])];
  const [u, v] = [builder.input('u', 'float32', [4, 5]), builder.input('v', 'float32', [5, 6])];
  builder.output('y', op.add(op.matmul(a, u), op.matmul(b, v, { transB: true, alpha: 0.5 })));
  return builder.build();
}

test('a sum of products becomes one product and a Gemm that adds to it', () => {
  const fused = fuseGemm(twoProducts());
  verify(fused);
  expect(print(fused)).toMatchInlineSnapshot(`
    "graph g(a: float32[N, 4], b: float32[N, 6], u: float32[4, 5], v: float32[5, 6]) {
      %0 = matmul(a, u) {alpha: 1} : float32[N, 5]
      %1 = gemm(b, v, %0) {transB: true, alpha: 0.5} : float32[N, 5]
      return y = %1
    }
    "
  `);
});

test('an accumulator becomes the addend of the product itself', () => {
  const graph = accumulate(gradient(twoProducts(), { outputs: ['y'], wrt: ['u'] }), ['grad.u']);
  const fused = fuseGemm(graph);
  expect(names(fused)).toEqual(['gemm']);
  expect(fused.nodes[0]?.inputs.map(({ name }) => name)).toEqual(['a', 'd.y', 'acc.grad.u']);
});

test('a product that is used elsewhere, or that the sum broadcasts, is left alone', () => {
  const builder = new GraphBuilder('g');
  const a = builder.input('a', 'float32', [1, 4]);
  const b = builder.input('b', 'float32', [4, 5]);
  const c = builder.input('c', 'float32', ['N', 5]);
  builder.output('wide', op.add(op.matmul(a, b), c));
  const shared = op.matmul(a, b, { alpha: 3 });
  builder.output('shared', shared);
  builder.output('sum', op.add(shared, shared));
  const fused = fuseGemm(builder.build());
  verify(fused);
  expect(names(fused)).not.toContain('gemm');
});

test('equal nodes become one; different attributes keep them apart', () => {
  const builder = new GraphBuilder('g');
  const x = builder.input('x', 'float32', [4, 4]);
  builder.output('y', op.add(op.matmul(op.exp(x), x), op.matmul(op.exp(x), x, { transA: true })));
  builder.output('z', op.add(op.mul(x, 2), op.mul(x, 2)));
  const merged = mergeEqual(builder.build());
  verify(merged);
  expect(names(merged)).toEqual(['exp', 'matmul', 'matmul', 'add', 'constant', 'mul', 'add']);
});

test('float64 replaces float32 in inputs, constants and conversions', () => {
  const builder = new GraphBuilder('g');
  const x = builder.input('x', 'bfloat16', ['N']);
  const y = builder.input('y', 'float32', ['N']);
  builder.output('z', op.mul(op.add(op.cast(x, 'float32'), y), 0.5));
  const wide = toFloat64(builder.build());
  verify(wide);
  expect(print(wide)).toMatchInlineSnapshot(`
    "graph g(x: bfloat16[N], y: float64[N]) {
      %0 = cast(x) {dtype: float64} : float64[N]
      %1 = add(%0, y) : float64[N]
      %2 = constant() {dtype: float64, shape: [], data: [0.5]} : float64[]
      %3 = mul(%1, %2) : float64[N]
      return z = %3
    }
    "
  `);
});

test('verify notices a broken graph', () => {
  const graph = twoProducts();
  expect(() => verify({ ...graph, nodes: graph.nodes.toReversed() })).toThrow(
    'g: add uses a value before it is defined',
  );
  expect(() => verify({ ...graph, nodes: graph.nodes.slice(1) })).toThrow('uses a value before');
  expect(() => verify({ ...graph, nodes: [...graph.nodes, ...graph.nodes] })).toThrow(
    'defines a value twice',
  );
  expect(() => verify({ ...graph, outputs: [...graph.outputs, ...graph.outputs] })).toThrow(
    'two outputs have one name',
  );
  expect(() => verify({ ...graph, inputs: graph.inputs.slice(1) })).toThrow('uses a value before');
  const [first, ...rest] = graph.nodes;
  const wrong = { ...first, attrs: { ...first?.attrs, transA: true } } as Graph['nodes'][number];
  expect(() => verify({ ...graph, nodes: [wrong, ...rest] })).toThrow('inner sizes');
});

test('a size that no input carries is noticed before it is needed', () => {
  const builder = new GraphBuilder('g');
  builder.output('y', op.expand(builder.input('x', 'float32', [1]), ['N']));
  expect(() => verify(builder.build())).toThrow('g: expand needs the size N, which no input carries');
});

test('the hash tells apart graphs that differ in anything, constants included', () => {
  const variant = (
    data: readonly number[],
    scope: string,
    name = 'x',
    perm: readonly number[] = [0, 1],
  ): string => {
    const builder = new GraphBuilder('g');
    const x = builder.input(name, 'float32', [2, 2]);
    const constant = builder.constant({ dtype: 'float32', shape: [2, 2], data });
    builder.scope(scope, () => builder.output('y', op.transpose(op.add(x, constant), { perm })));
    return hash(builder.build());
  };
  const base = variant([1, 2, 3, 4], 'a');
  expect(variant([1, 2, 3, 4], 'a')).toBe(base);
  expect(base).toMatch(/^[0-9a-f]{26}$/);
  const others = [
    variant([1, 2, 3, 5], 'a'),
    variant([1, 2, 3, 4], 'b'),
    variant([1, 2, 3, 4], 'a', 'z'),
    variant([1, 2, 3, 4], 'a', 'x', [1, 0]),
  ];
  expect(new Set([base, ...others]).size).toBe(5);
});

test('copies of a part have names and sizes of their own, and their rows can be one output', () => {
  const builder = new GraphBuilder('g');
  const w = builder.input('w', 'float32', [4, 5]);
  for (const at of [0, 1])
    builder.copy(at, () => builder.output('y', op.matmul(builder.input('x', 'float32', ['n', 4]), w)));
  const joined = joinRows(builder.build(), ['y'], 2);
  verify(joined);
  expect(print(joined)).toMatchInlineSnapshot(`
    "graph g(w: float32[4, 5], x.0: float32[n.0, 4], x.1: float32[n.1, 4]) {
      %0 = matmul(x.0, w) {alpha: 1} : float32[n.0, 5]  # 0
      %1 = matmul(x.1, w) {alpha: 1} : float32[n.1, 5]  # 1
      %2 = concat(%0, %1) {axis: 0} : float32[(n.0+n.1), 5]
      return y = %2
    }
    "
  `);
  expect(() => joinRows(builder.build(), ['y'], 3)).toThrow("g: has no output 'y.2' to join");
});
