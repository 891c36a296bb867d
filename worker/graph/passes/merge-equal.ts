import type { Attr, Attrs, Graph, Value } from '../op-def.ts';
import { rewriteGraph } from '../rewrite.ts';

/** Common subexpression elimination: nodes with equal op, attributes and inputs become one. */
export function mergeEqual(graph: Graph): Graph {
  const ids = new Map<Value, number>();
  const seen = new Map<string, readonly Value[]>();
  const idOf = (value: Value): number => {
    const id = ids.get(value) ?? ids.size;
    ids.set(value, id);
    return id;
  };
  return rewriteGraph(graph, ({ node, inputs, into }) => {
    const key = `${node.op.name}(${inputs.map(idOf).join(',')})${attrsKey(node.attrs)}`;
    const outputs = seen.get(key) ?? into.addNode(node.op, inputs, node.attrs);
    seen.set(key, outputs);
    return outputs;
  });
}

/** Text that is equal exactly for equal attributes, constant data included. */
export function attrsKey(attrs: Attrs): string {
  const entries = Object.entries(attrs).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([name, attr]) => `;${name}=${attrKey(attr)}`).join('');
}

function attrKey(attr: Attr): string {
  if (ArrayBuffer.isView(attr)) return `${attr.constructor.name}[${attr.join(',')}]`;
  if (Array.isArray(attr)) return `[${attr.map(attrKey).join(',')}]`;
  if (typeof attr === 'string') return JSON.stringify(attr);
  return Object.is(attr, -0) ? '-0' : String(attr);
}
