import { invariant } from '#core/contract/errors.ts';
import type { GraphBuilder } from './builder.ts';
import { dimExpression, substituteDims } from './dims.ts';
import type { Attrs, Graph, Value } from './op-def.ts';
import { copyNodes, mapped } from './rewrite.ts';
import { formatType, sameShape } from './types.ts';
import type { Dim } from './types.ts';

/**
 * Copies a graph into the one that `into` builds, on `feeds` in place of its inputs, and gives its outputs by name. Symbolic
 * sizes of the inputs become those of what is fed.
 * @param feeds gives the value for an input.
 */
export function inline(
  graph: Graph,
  into: GraphBuilder,
  feeds: (input: Value & { readonly name: string }) => Value,
): Readonly<Record<string, Value>> {
  const values = new Map<Value, Value>();
  const sizes = new Map<string, Dim>();
  for (const input of graph.inputs) {
    const fed = feeds(input);
    values.set(input, fed);
    input.shape.forEach((dim, axis) => {
      const size = dimExpression(dim);
      if (size.kind === 'name' && !sizes.has(size.name)) sizes.set(size.name, fed.shape[axis] ?? dim);
    });
    const shape = input.shape.map((dim) => substituteDims(dim, sizes));
    invariant(
      fed.dtype === input.dtype && sameShape(shape, fed.shape),
      `${graph.name}: input '${input.name}' is ${formatType(input.type)}, fed with ${formatType(fed.type)}`,
    );
  }
  copyNodes(graph, into, values, ({ node, inputs }) =>
    into.addNode(node.op, inputs, withSizes(node.attrs, sizes)),
  );
  return Object.fromEntries(graph.outputs.map(({ name, value }) => [name, mapped(values, value)]));
}

/** The attributes with the sizes they mention renamed: see `sizesOf`. */
function withSizes(attrs: Attrs, sizes: ReadonlyMap<string, Dim>): Attrs {
  const { shape, dim } = attrs;
  return {
    ...attrs,
    ...(Array.isArray(shape) && {
      shape: (shape as readonly Dim[]).map((size) => substituteDims(size, sizes)),
    }),
    ...(typeof dim === 'string' && { dim: substituteDims(dim, sizes) }),
  };
}
