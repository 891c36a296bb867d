import { invariant } from '#core/contract/errors.ts';
import type { Graph, Value } from './op-def.ts';
import { sizesOf } from './passes/drop-unused-inputs.ts';
import { formatType, sameShape } from './types.ts';

/**
 * Checks what every pass must keep: values are defined once and before use, types are those inference gives, names are
 * unique, and every symbolic size a shape mentions is carried by an input.
 * @throws InvariantError naming the graph, the scope and the value.
 */
export function verify(graph: Graph): void {
  const defined = new Set<Value>(graph.inputs);
  const names = (list: readonly { readonly name: string }[]): Set<string> =>
    new Set(list.map((item) => item.name));
  invariant(names(graph.inputs).size === graph.inputs.length, `${graph.name}: two inputs have one name`);
  invariant(names(graph.outputs).size === graph.outputs.length, `${graph.name}: two outputs have one name`);
  const carried = new Set(graph.inputs.flatMap((input) => input.shape));

  for (const node of graph.nodes) {
    const where = `${[graph.name, node.scope].filter(Boolean).join('.')}: ${node.op.name}`;
    for (const input of node.inputs)
      invariant(defined.has(input), `${where} uses a value before it is defined`);
    const inferred = node.op.infer(
      node.inputs.map((input) => input.type),
      node.attrs,
    );
    invariant(inferred.length === node.outputs.length, `${where} has ${node.outputs.length} outputs`);
    node.outputs.forEach((output, index) => {
      const type = inferred[index];
      invariant(
        type !== undefined && type.dtype === output.dtype && sameShape(type.shape, output.shape),
        `${where} gives ${type === undefined ? 'nothing' : formatType(type)}, marked ${formatType(output.type)}`,
      );
      invariant(
        output.node === node && output.index === index,
        `${where}: an output belongs to another node`,
      );
      invariant(!defined.has(output), `${where} defines a value twice`);
      defined.add(output);
    });
    for (const size of sizesOf(node)) {
      invariant(carried.has(size), `${where} needs the size ${size}, which no input carries`);
    }
  }
  for (const { name, value } of graph.outputs) {
    invariant(defined.has(value), `${graph.name}: output '${name}' is not computed`);
  }
}
