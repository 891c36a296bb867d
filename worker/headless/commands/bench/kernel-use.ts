/** What the kernels of a step took, from what a runtime recorded. */
import type { PlacedNodes } from '#worker/runtime/index.ts';
import { count, megabytes, number, table } from '../terminal.ts';

/** Operators of one kind in an average step. */
export interface KernelUse {
  readonly opType: string;
  readonly runs: number;
  readonly milliseconds: number;
  /** Megabytes of 10^6 bytes that they read and wrote. */
  readonly megabytes: number;
}

/** Use of each kind of operator, the slowest first. @param steps how many were recorded. */
export function kernelUse(placed: readonly PlacedNodes[], steps: number): KernelUse[] {
  const sum = (nodes: readonly PlacedNodes[], of: (node: PlacedNodes) => number) =>
    nodes.reduce((total, node) => total + of(node), 0) / steps;
  return [...Map.groupBy(placed, ({ opType }) => opType)]
    .map(([opType, nodes]) => ({
      opType,
      runs: sum(nodes, ({ runs }) => runs),
      milliseconds: sum(nodes, ({ milliseconds }) => milliseconds),
      megabytes: sum(nodes, ({ bytes }) => bytes) / 1e6,
    }))
    .toSorted((a, b) => b.milliseconds - a.milliseconds);
}

/** As a table for the terminal. */
export function describeKernels(kernels: readonly KernelUse[]): string {
  const total = kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  return table([
    ['kernels', 'in an average step, the first ones included'],
    ...kernels.map((kernel) => [
      `  ${kernel.opType}`,
      `${number(kernel.milliseconds, 3)} ms (${number((100 * kernel.milliseconds) / total, 2)} %), ` +
        `${count(Math.round(kernel.runs))} runs, ${megabytes(kernel.megabytes)} read and written`,
    ]),
  ]);
}
