import { expect, test } from 'vitest';
import { GraphBuilder, accumulate, gradient, op, print, verify } from './index.ts';
import type { Graph, Value } from './index.ts';

/** y = (silu(x gate^T) * (x up^T)) down^T. */
function expert(): Graph {
  const builder = new GraphBuilder('expert');
  const x = builder.input('x', 'float32', ['N', 8]);
  const weight = (name: string, shape: readonly number[]): Value => builder.input(name, 'float32', shape);
  const gate = op.matmul(x, weight('gate', [16, 8]), { transB: true });
  const up = op.matmul(x, weight('up', [16, 8]), { transB: true });
  builder.output('g', gate);
  builder.output('y', op.matmul(op.mul(op.silu(gate), up), weight('down', [8, 16]), { transB: true }));
  return builder.build();
}

test('the backward graph of an expert', () => {
  const backward = gradient(expert(), { outputs: ['y'], wrt: ['x', 'gate'] });
  verify(backward);
  expect(print(backward)).toMatchInlineSnapshot(`
    "graph expert.grad(x: float32[N, 8], gate: float32[16, 8], up: float32[16, 8], down: float32[8, 16], d.y: float32[N, 8]) {
      %0 = matmul(x, gate) {transB: true, alpha: 1} : float32[N, 16]
      %1 = matmul(x, up) {transB: true, alpha: 1} : float32[N, 16]
      %2 = silu(%0) : float32[N, 16]
      %3 = matmul(d.y, down) {alpha: 1} : float32[N, 16]
      %4 = mul(%3, %1) : float32[N, 16]
      %5 = mul(%3, %2) : float32[N, 16]
      %6 = sigmoid(%0) : float32[N, 16]
      %7 = add(%6, %2) : float32[N, 16]
      %8 = mul(%6, %2) : float32[N, 16]
      %9 = sub(%7, %8) : float32[N, 16]
      %10 = mul(%4, %9) : float32[N, 16]
      %11 = matmul(%5, up) {alpha: 1} : float32[N, 8]
      %12 = matmul(%10, gate) {alpha: 1} : float32[N, 8]
      %13 = matmul(%10, x) {transA: true, alpha: 1} : float32[16, 8]
      %14 = add(%11, %12) : float32[N, 8]
      return grad.x = %14, grad.gate = %13
    }
    "
  `);
});

test('saved outputs are not computed again, and only inputs that are needed remain', () => {
  const backward = gradient(expert(), { outputs: ['y'], wrt: ['down'], saved: ['g'] });
  verify(backward);
  expect(backward.inputs.map(({ name }) => name)).toEqual(['x', 'up', 'g', 'd.y']);
  expect(backward.nodes.map((node) => node.op.name)).toEqual(['matmul', 'silu', 'mul', 'matmul']);
});

test('gradients that meet are added, and values can be returned beside them', () => {
  const builder = new GraphBuilder('norm');
  const x = builder.input('x', 'float32', ['N', 4]);
  builder.scope('layers.3.norm', () => {
    builder.output('y', op.add(x, op.rmsNorm(x, builder.input('w', 'float32', [4]), { eps: 1e-5 })));
  });
  const backward = gradient(builder.build(), { outputs: ['y'], wrt: ['x', 'w'], valueToo: ['y'] });
  verify(backward);
  expect(print(backward)).toMatchInlineSnapshot(`
    "graph norm.grad(x: float32[N, 4], w: float32[4], d.y: float32[N, 4]) {
      %0, %1 = rmsNorm(x, w) {eps: 0.00001} : float32[N, 4], float32[N, 1]  # layers.3.norm
      %2 = add(x, %0) : float32[N, 4]  # layers.3.norm
      %3 = mul(x, %1) : float32[N, 4]  # layers.3.norm
      %4 = mul(d.y, w) : float32[N, 4]  # layers.3.norm
      %5 = mul(%4, %3) : float32[N, 4]  # layers.3.norm
      %6 = reduceMean(%5) {axes: [1]} : float32[N, 1]  # layers.3.norm
      %7 = mul(%3, %6) : float32[N, 4]  # layers.3.norm
      %8 = sub(%4, %7) : float32[N, 4]  # layers.3.norm
      %9 = mul(%1, %8) : float32[N, 4]  # layers.3.norm
      %10 = mul(d.y, %3) : float32[N, 4]  # layers.3.norm
      %11 = reduceSum(%10) {axes: [0]} : float32[1, 4]  # layers.3.norm
      %12 = reshape(%11) {shape: [4]} : float32[4]  # layers.3.norm
      %13 = add(d.y, %9) : float32[N, 4]  # layers.3.norm
      return grad.x = %13, grad.w = %12, y = %2
    }
    "
  `);
});

test('accumulated gradients get an input of their own', () => {
  const backward = accumulate(gradient(expert(), { outputs: ['y'], wrt: ['x', 'down'] }), ['grad.down']);
  verify(backward);
  const sum = backward.outputs.find(({ name }) => name === 'grad.down')?.value.node;
  expect(sum?.op.name).toBe('add');
  expect(sum?.inputs[0]?.name).toBe('acc.grad.down');
  expect(() => accumulate(backward, ['grad.up'])).toThrow(
    "expert.grad: cannot accumulate 'grad.up', outputs are grad.x, grad.down",
  );
});

test('an input nothing depends on gets zeros of its shape', () => {
  const builder = new GraphBuilder('g');
  const x = builder.input('x', 'float32', ['N', 2]);
  const k = builder.input('k', 'float32', ['M']);
  builder.output('y', op.mul(x, op.reduceSum(op.stopGradient(k), { axes: [0] })));
  const backward = gradient(builder.build(), { outputs: ['y'], wrt: ['k'] });
  verify(backward);
  expect(print(backward)).toMatchInlineSnapshot(`
    "graph g.grad(k: float32[M]) {
      %0 = constant() {dtype: float32, shape: [], data: [0]} : float32[]
      %1 = expand(%0) {shape: [M]} : float32[M]
      return grad.k = %1
    }
    "
  `);
});

test('a straight-through estimator is an ordinary graph', () => {
  const builder = new GraphBuilder('g');
  const x = builder.input('x', 'float32', ['N', 2]);
  const hard = op.cast(op.greater(x, 0), 'float32');
  builder.output('y', op.add(x, op.stopGradient(op.sub(hard, x))));
  const backward = gradient(builder.build(), { outputs: ['y'], wrt: ['x'] });
  expect(backward.nodes).toEqual([]);
  expect(backward.outputs[0]?.value.name).toBe('d.y');
});

test('what has no gradient says so, with the scope and the reason, only when a gradient has to pass', () => {
  const builder = new GraphBuilder('embedding');
  const table = builder.input('table', 'float32', [10, 4]);
  const ids = builder.input('ids', 'int64', ['N']);
  const bias = builder.input('bias', 'float32', [4]);
  builder.scope('tokens', () => builder.output('y', op.add(op.gather(table, ids, { axis: 0 }), bias)));
  const graph = builder.build();
  expect(() => gradient(graph, { outputs: ['y'], wrt: ['table'] })).toThrow(
    /^embedding\.tokens: gather is not differentiable: repeated indices would need a scatter-add/,
  );
  expect(gradient(graph, { outputs: ['y'], wrt: ['bias'] }).inputs.map(({ name }) => name)).toEqual(['d.y']);
});

test.each<[string, () => unknown, string]>([
  [
    'outputs',
    () => gradient(expert(), { outputs: ['z'], wrt: ['x'] }),
    "expert: has no output 'z'; outputs are g, y",
  ],
  [
    'inputs',
    () => gradient(expert(), { outputs: ['y'], wrt: ['z'] }),
    "has no input 'z'; inputs are x, gate, up, down",
  ],
  ['saved', () => gradient(expert(), { outputs: ['y'], wrt: ['x'], saved: ['h'] }), "has no output 'h'"],
  ['values', () => gradient(expert(), { outputs: ['y'], wrt: ['x'], valueToo: ['h'] }), "has no output 'h'"],
])('unknown names of %s are reported with the known ones', (_what, build, message) => {
  expect(build).toThrow(message);
});

test('only float inputs and outputs have gradients', () => {
  const builder = new GraphBuilder('g');
  const i = builder.input('i', 'int64', ['N']);
  builder.output('big', op.greater(i, 3));
  builder.output('y', op.cast(i, 'float32'));
  const graph = builder.build();
  expect(() => gradient(graph, { outputs: ['y'], wrt: ['i'] })).toThrow("input 'i' is int64[N], not float");
  expect(() => gradient(graph, { outputs: ['big'], wrt: [] })).toThrow("output 'big' is bool[N], not float");
});
