import type { Graph } from '../op-def.ts';
import { matmul, matrixProduct } from '../ops/linear.ts';
import { rewriteGraph } from '../rewrite.ts';

/** Rows of a weight from which its product is worth swapping: that with a thin one is short anyway. */
const LEAST_ROWS = 32;

/** Computes each product `x Wᵀ` of an open number of rows with a weight of fixed size as `swapped` says: for few rows. */
export function swapProducts(graph: Graph): Graph {
  return rewriteGraph(graph, ({ node, inputs, into }) => {
    const [y] = node.outputs;
    const { options, a, b } = (y && matrixProduct(y)) ?? {};
    const [first, second] = inputs;
    const isOfFewRows =
      options?.transB === true && options.transA !== true && typeof a?.shape[0] === 'string';
    const [out = 0, width] = b?.shape ?? [];
    const isOfLargeWeight = typeof out === 'number' && out >= LEAST_ROWS && typeof width === 'number';
    return first && second && isOfFewRows && isOfLargeWeight
      ? [matmul(first, second, { ...options, swapped: true })]
      : into.addNode(node.op, inputs, node.attrs);
  });
}
