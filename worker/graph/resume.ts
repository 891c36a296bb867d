import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder } from './builder.ts';
import type { Graph, Value } from './op-def.ts';
import { dropUnusedInputs } from './passes/drop-unused-inputs.ts';
import { copyNodes, mapped } from './rewrite.ts';

/**
 * The part of a graph that computes `outputs` from its saved outputs: those become inputs of the same name, and what only
 * they needed is left out.
 */
export function resume(
  graph: Graph,
  { saved, outputs }: { readonly saved: readonly string[]; readonly outputs: readonly string[] },
): Graph {
  const into = new GraphBuilder(`${graph.name}.resumed`);
  const values = new Map<Value, Value>();
  const outputNamed = (name: string): Value => {
    const output = graph.outputs.find((candidate) => candidate.name === name);
    invariant(output !== undefined, `${graph.name}: has no output '${name}'`);
    return output.value;
  };
  for (const input of graph.inputs) values.set(input, into.input(input.name, input.dtype, input.shape));
  for (const name of saved) {
    const value = outputNamed(name);
    values.set(value, into.input(name, value.dtype, value.shape));
  }
  copyNodes(graph, into, values);
  for (const name of outputs) into.output(name, mapped(values, outputNamed(name)));
  return dropUnusedInputs(into.build());
}
