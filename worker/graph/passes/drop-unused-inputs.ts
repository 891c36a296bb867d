import { namesIn } from '../dims.ts';
import type { Graph, InputValue, Node, Value } from '../op-def.ts';
import type { Dim } from '../types.ts';

/**
 * Leaves out the inputs nothing depends on. An input also counts as used when it is needed to find a symbolic size that
 * a node's shape mentions.
 */
export function dropUnusedInputs(graph: Graph): Graph {
  const used = new Set<Value>(graph.nodes.flatMap((node) => node.inputs));
  for (const { value } of graph.outputs) used.add(value);
  const kept = new Set(graph.inputs.filter((input) => used.has(input)));
  for (const name of new Set(graph.nodes.flatMap(sizesOf))) {
    if ([...kept].some((input) => input.shape.includes(name))) continue;
    const carrier = graph.inputs.find((input) => input.shape.includes(name));
    if (carrier !== undefined) kept.add(carrier);
  }
  return { ...graph, inputs: graph.inputs.filter((input: InputValue) => kept.has(input)) };
}

/** The names of the sizes that a node's attributes mention. */
export function sizesOf({ attrs }: Node): readonly string[] {
  const dims: readonly Dim[] = [
    ...(Array.isArray(attrs['shape']) ? (attrs['shape'] as readonly Dim[]) : []),
    ...(typeof attrs['dim'] === 'string' ? [attrs['dim']] : []),
  ];
  return dims.flatMap(namesIn);
}
