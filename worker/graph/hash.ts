import type { Graph } from './op-def.ts';
import { attrsKey } from './passes/merge-equal.ts';
import { print } from './print.ts';

/** 26 hexadecimal digits that are equal for equal graphs: inputs, nodes, constants, outputs, scopes and name. */
export function hash(graph: Graph): string {
  const text = print(graph) + graph.nodes.map((node) => attrsKey(node.attrs)).join('\n');
  return mix(text, 0x9e3779b9) + mix(text, 0x85ebca6b);
}

/** 52 bits from two interleaved multiply-and-xor accumulators with an avalanche at the end. */
function mix(text: string, seed: number): string {
  let a = 0xdeadbeef ^ seed;
  let b = 0x41c6ce57 ^ seed;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 0x9e3779b1);
    b = Math.imul(b ^ code, 0x5f356495);
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return (4294967296 * (2097151 & b) + (a >>> 0)).toString(16).padStart(14, '0').slice(-13);
}
