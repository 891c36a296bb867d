import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder } from '../builder.ts';
import type { Graph, Value } from '../op-def.ts';
import { add } from '../ops/arithmetic.ts';
import { copyNodes, mapped } from '../rewrite.ts';

/**
 * Adds an input `acc.<name>` for each of the named outputs, and makes the output `acc + value`: fetching it into the
 * accumulator's own buffer adds up gradients over runs in place.
 */
export function accumulate(graph: Graph, outputNames: readonly string[]): Graph {
  const known = new Set(graph.outputs.map((output) => output.name));
  for (const name of outputNames) {
    invariant(
      known.has(name),
      `${graph.name}: cannot accumulate '${name}', outputs are ${[...known].join(', ')}`,
    );
  }
  const into = new GraphBuilder(graph.name);
  const values = new Map<Value, Value>();
  for (const input of graph.inputs) values.set(input, into.input(input.name, input.dtype, input.shape));
  copyNodes(graph, into, values);
  for (const { name, value } of graph.outputs) {
    const copy = mapped(values, value);
    into.output(
      name,
      outputNames.includes(name) ? add(into.input(`acc.${name}`, value.dtype, value.shape), copy) : copy,
    );
  }
  return into.build();
}
