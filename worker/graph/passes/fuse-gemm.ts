import type { Graph, Value } from '../op-def.ts';
import { isAdd } from '../ops/arithmetic.ts';
import { gemm, matrixProduct } from '../ops/linear.ts';
import { rewriteGraph } from '../rewrite.ts';
import { sameShape } from '../types.ts';

/**
 * Turns `c + a b` into one Gemm with C = c, for 2-D products used nowhere else. Chains of sums of products become chains
 * of Gemms, and a running sum can be kept in place by fetching the result into the buffer of c.
 */
export function fuseGemm(graph: Graph): Graph {
  const uses = new Map<Value, number>();
  const use = (value: Value): void => void uses.set(value, (uses.get(value) ?? 0) + 1);
  for (const node of graph.nodes) node.inputs.forEach(use);
  for (const { value } of graph.outputs) use(value);

  return rewriteGraph(graph, ({ node, inputs, into, lookup }) => {
    const [sum] = node.outputs;
    if (isAdd(node.op) && sum?.rank === 2) {
      // The second operand first: in `acc + product` the accumulator is C even when it is a product itself.
      for (const [productAt, otherAt] of [
        [1, 0],
        [0, 1],
      ] as const) {
        const product = node.inputs[productAt];
        const other = inputs[otherAt];
        const parts = product && matrixProduct(product);
        if (!parts || !other || other.rank > 2) continue;
        if (uses.get(product) !== 1 || !sameShape(product.shape, sum.shape)) continue;
        return [gemm(lookup(parts.a), lookup(parts.b), other, parts.options)];
      }
    }
    return into.addNode(node.op, inputs, node.attrs);
  });
}
