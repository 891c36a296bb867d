import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder } from '../builder.ts';
import type { Graph, Value } from '../op-def.ts';
import { concat } from '../ops/layout.ts';
import { copyNodes, mapped } from '../rewrite.ts';

/** Makes one output of each of `names` from those of `copies` copies, `name.0` and so on: their rows one after the other. */
export function joinRows(graph: Graph, names: readonly string[], copies: number): Graph {
  const into = new GraphBuilder(graph.name);
  const values = new Map<Value, Value>();
  for (const input of graph.inputs) values.set(input, into.input(input.name, input.dtype, input.shape));
  copyNodes(graph, into, values);
  const parts = new Map<string, Value>();
  const partNames = new Set(
    names.flatMap((name) => Array.from({ length: copies }, (_, at) => `${name}.${at}`)),
  );
  for (const { name, value } of graph.outputs) {
    if (partNames.has(name)) parts.set(name, mapped(values, value));
    else into.output(name, mapped(values, value));
  }
  for (const name of names) {
    const rows = Array.from({ length: copies }, (_, at) => {
      const value = parts.get(`${name}.${at}`);
      invariant(value !== undefined, `${graph.name}: has no output '${name}.${at}' to join`);
      return value;
    });
    into.output(name, concat(rows, { axis: 0 }));
  }
  return into.build();
}
