import type { Attr, Graph, Node, Value } from './op-def.ts';
import { formatType } from './types.ts';

/** Stable text of a graph: one line per node with its attributes, type and scope. Equal graphs print alike. */
export function print(graph: Graph): string {
  const names = new Map<Value, string>();
  for (const input of graph.inputs) names.set(input, input.name);
  const nameOf = (value: Value): string => names.get(value) ?? '?';
  let next = 0;
  const lines = graph.nodes.map((node) => {
    for (const output of node.outputs) names.set(output, `%${next++}`);
    const types = node.outputs.map((output) => formatType(output.type)).join(', ');
    const left = node.outputs.map(nameOf).join(', ');
    const scope = node.scope === '' ? '' : `  # ${node.scope}`;
    return `  ${left} = ${node.op.name}(${node.inputs.map(nameOf).join(', ')})${printAttrs(node)} : ${types}${scope}`;
  });
  const inputs = graph.inputs.map((input) => `${input.name}: ${formatType(input.type)}`);
  const outputs = graph.outputs.map(({ name, value }) => `${name} = ${nameOf(value)}`);
  return [
    `graph ${graph.name}(${inputs.join(', ')}) {`,
    ...lines,
    `  return ${outputs.join(', ')}`,
    '}',
    '',
  ].join('\n');
}

function printAttrs({ attrs }: Node): string {
  const given = Object.entries(attrs).filter(([, attr]) => attr !== undefined && attr !== false);
  if (given.length === 0) return '';
  return ` {${given.map(([name, attr]) => `${name}: ${printAttr(attr)}`).join(', ')}}`;
}

function printAttr(attr: Attr): string {
  if (!Array.isArray(attr) && !ArrayBuffer.isView(attr)) return String(attr);
  const shown = Array.from(attr.slice(0, 8), String).join(', ');
  return attr.length > 8 ? `[${shown}, … ${attr.length} in all]` : `[${shown}]`;
}
