import { expect, test } from 'vitest';
import { GraphBuilder, inline, op, print, verify } from './index.ts';
import type { Graph } from './index.ts';

/** A product of rows that were taken apart and put together, and zeros, with sizes of its own. */
function stage(): Graph {
  const builder = new GraphBuilder('stage');
  const x = builder.input('x', 'float32', ['N', 4]);
  const w = builder.input('w', 'float32', ['I', 4]);
  const turned = op.transpose(op.reshape(x, ['N', 2, 2]), { perm: [0, 2, 1] });
  builder.scope('inner', () =>
    builder.output('y', op.matmul(op.reshape(turned, ['N', 4]), w, { transB: true })),
  );
  builder.output('zero', op.expand(builder.constant(0), ['N', '2*I']));
  return builder.build();
}

test('a graph inside another has the sizes of what it is fed', () => {
  const builder = new GraphBuilder('outer');
  const fed = {
    x: op.reshape(builder.input('rows', 'float32', ['B', 'S', 4]), ['B*S', 4]),
    w: builder.input('weight', 'float32', [6, 4]),
  };
  const { y, zero } = builder.scope('layer', () =>
    inline(stage(), builder, ({ name }) => (name === 'x' ? fed.x : fed.w)),
  );
  for (const [name, value] of Object.entries({ y, zero })) if (value) builder.output(name, value);
  const graph = builder.build();
  verify(graph);
  expect(print(graph)).toMatchInlineSnapshot(`
    "graph outer(rows: float32[B, S, 4], weight: float32[6, 4]) {
      %0 = reshape(rows) {shape: [B*S, 4]} : float32[B*S, 4]
      %1 = reshape(%0) {shape: [B*S, 2, 2]} : float32[B*S, 2, 2]  # layer
      %2 = transpose(%1) {perm: [0, 2, 1]} : float32[B*S, 2, 2]  # layer
      %3 = reshape(%2) {shape: [B*S, 4]} : float32[B*S, 4]  # layer.inner
      %4 = matmul(%3, weight) {transB: true, alpha: 1} : float32[B*S, 6]  # layer.inner
      %5 = constant() {dtype: float32, shape: [], data: [0]} : float32[]  # layer
      %6 = expand(%5) {shape: [B*S, 12]} : float32[B*S, 12]  # layer
      return y = %4, zero = %6
    }
    "
  `);
});

test('what does not fit an input is refused by name', () => {
  const builder = new GraphBuilder('outer');
  const narrow = builder.input('narrow', 'float32', ['B', 3]);
  expect(() => inline(stage(), builder, () => narrow)).toThrow(
    "stage: input 'x' is float32[N, 4], fed with float32[B, 3]",
  );
});
