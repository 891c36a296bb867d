/** Which nodes of programs ran on which provider, and for how long. */
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { Placement } from '#core/contract/run.ts';

/** Nodes of one kind that ran on one provider. */
export interface PlacedNodes {
  readonly provider: 'cpu' | 'webgpu';
  readonly opType: string;
  /** Element types of the inputs, in order. */
  readonly inputs: readonly string[];
  /** How many such nodes the programs have that ran. */
  readonly nodes: number;
  /** How many times such a node ran. */
  readonly runs: number;
  /** Time in their kernels; on a GPU only that of handing the work over. */
  readonly milliseconds: number;
  /** Bytes of all inputs and outputs, copied or not. */
  readonly bytes: number;
}

interface ProfileEvent {
  readonly cat?: string;
  readonly name?: string;
  /** Microseconds. */
  readonly dur?: number;
  readonly args?: {
    readonly provider?: string;
    readonly op_name?: string;
    readonly input_type_shape?: readonly Readonly<Record<string, unknown>>[];
    /** Bytes, in decimal digits: inputs, weights that are part of the program, outputs. */
    readonly activation_size?: string;
    readonly parameter_size?: string;
    readonly output_size?: string;
  };
}

/** What ONNX Runtime's profiles in `folder` say. */
export function readPlacement(folder: string): PlacedNodes[] {
  const placed = new Map<string, PlacedNodes>();
  for (const file of readdirSync(folder)) {
    const text = readFileSync(path.join(folder, file), 'utf8');
    // A file is of one program.
    const seen = new Set<string>();
    for (const { cat, name = '', dur = 0, args } of JSON.parse(text) as ProfileEvent[]) {
      if (cat !== 'Node' || !name.endsWith('_kernel_time') || args?.op_name === undefined) continue;
      const provider = args.provider?.startsWith('CPU') === true ? 'cpu' : 'webgpu';
      const inputs = (args.input_type_shape ?? []).flatMap(Object.keys);
      const key = `${provider} ${args.op_name} ${inputs.join()}`;
      const { nodes = 0, runs = 0, milliseconds = 0, bytes = 0 } = placed.get(key) ?? {};
      const { activation_size = 0, parameter_size = 0, output_size = 0 } = args;
      placed.set(key, {
        provider,
        opType: args.op_name,
        inputs,
        nodes: nodes + (seen.has(`${key} ${name}`) ? 0 : 1),
        runs: runs + 1,
        milliseconds: milliseconds + dur / 1000,
        bytes: bytes + Number(activation_size) + Number(parameter_size) + Number(output_size),
      });
      seen.add(`${key} ${name}`);
    }
  }
  return [...placed.values()];
}

/** Nodes on the CPU that compute more than sizes and indices: in a graph for a GPU there should be none. */
export function strayNodes(placed: readonly PlacedNodes[]): PlacedNodes[] {
  return placed.filter(
    ({ provider, opType, inputs }) =>
      provider === 'cpu' && opType !== 'Shape' && inputs.some((type) => type.startsWith('float')),
  );
}

/** Operators that are left to the CPU, in words: "2 × Sign, 1 × OneHot". */
export function nameOperators(leftToCpu: Placement['leftToCpu']): string {
  return leftToCpu.map(({ operator, count }) => `${count} × ${operator}`).join(', ');
}

/** A placement in words. */
export function describePlacement({ onAdapter, sizesOnCpu, leftToCpu }: Placement): string {
  const left = nameOperators(leftToCpu) || 'none';
  return `${onAdapter.toLocaleString('en-US')} operators on the adapter, ${sizesOnCpu.toLocaleString('en-US')} on the CPU that compute sizes; left to the CPU: ${left}`;
}

/** How many nodes are where. */
export function summarizePlacement(placed: readonly PlacedNodes[]): Placement {
  const count = (nodes: readonly PlacedNodes[]) => nodes.reduce((sum, each) => sum + each.nodes, 0);
  const stray = strayNodes(placed);
  const onCpu = placed.filter(({ provider }) => provider === 'cpu');
  const byType = Map.groupBy(stray, ({ opType }) => opType);
  return {
    onAdapter: count(placed) - count(onCpu),
    sizesOnCpu: count(onCpu) - count(stray),
    leftToCpu: [...byType].map(([operator, nodes]) => ({ operator, count: count(nodes) })),
  };
}
