import { GraphBuilder } from '../builder.ts';
import type { Graph, Value } from '../op-def.ts';
import { copyNodes, mapped } from '../rewrite.ts';
import type { DType } from '../types.ts';

/** The same graph with every `float32` made `float64`, to check gradients in the `reference` dialect. */
export function toFloat64(graph: Graph): Graph {
  const widen = (dtype: DType): DType => (dtype === 'float32' ? 'float64' : dtype);
  const into = new GraphBuilder(graph.name);
  const values = new Map<Value, Value>();
  for (const input of graph.inputs)
    values.set(input, into.input(input.name, widen(input.dtype), input.shape));
  copyNodes(graph, into, values, ({ node, inputs }) =>
    // By convention an attribute that holds an element type is called `dtype`.
    into.addNode(
      node.op,
      inputs,
      node.attrs['dtype'] === 'float32' ? { ...node.attrs, dtype: 'float64' } : node.attrs,
    ),
  );
  for (const { name, value } of graph.outputs) into.output(name, mapped(values, value));
  return into.build();
}
