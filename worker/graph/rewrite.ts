import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder } from './builder.ts';
import type { Graph, Node, Value } from './op-def.ts';

/** Copying graphs node by node, which every pass is made of. */

/** What a pass is given for each node. */
export interface RewriteSite {
  readonly node: Node;
  /** The node's inputs in the new graph. */
  readonly inputs: readonly Value[];
  readonly into: GraphBuilder;
  /** The value of the new graph that stands for one of the old. */
  readonly lookup: (value: Value) => Value;
}

/** Gives the new values for the node's outputs; may add any nodes to `into`. */
export type Rewrite = (site: RewriteSite) => readonly Value[];

/** The rewrite that changes nothing. */
const copyNode: Rewrite = ({ node, inputs, into }) => into.addNode(node.op, inputs, node.attrs);

/** Copies all nodes of `graph` into a builder, keeping scopes; values already in the map are left as they are. */
export function copyNodes(
  graph: Graph,
  into: GraphBuilder,
  values: Map<Value, Value>,
  rewrite: Rewrite = copyNode,
): void {
  const lookup = (value: Value): Value => {
    const copy = values.get(value);
    invariant(copy !== undefined, `${graph.name}: a node comes before a value it uses`);
    return copy;
  };
  for (const node of graph.nodes) {
    const outputs = into.scope(node.scope, () =>
      rewrite({ node, inputs: node.inputs.map(lookup), into, lookup }),
    );
    node.outputs.forEach((value, index) => {
      const copy = outputs[index];
      invariant(copy !== undefined, `${graph.name}: rewriting ${node.op.name} lost an output`);
      if (!values.has(value)) values.set(value, copy);
    });
  }
}

/** A graph with the same inputs and outputs whose nodes went through `rewrite`. */
export function rewriteGraph(graph: Graph, rewrite: Rewrite): Graph {
  const into = new GraphBuilder(graph.name);
  const values = new Map<Value, Value>();
  for (const input of graph.inputs) {
    values.set(input, into.input(input.name, input.dtype, input.shape));
  }
  copyNodes(graph, into, values, rewrite);
  for (const { name, value } of graph.outputs) into.output(name, mapped(values, value));
  return into.build();
}

/** The copy of a value that must have one. */
export function mapped(values: ReadonlyMap<Value, Value>, value: Value): Value {
  const copy = values.get(value);
  invariant(copy !== undefined, 'a value of the graph has no copy');
  return copy;
}
