/** Values of a method's auxiliary losses on a micro-batch, and their gradients for each MoE layer. */
import type { LayerRouting, LayerRoutingGradient, RoutingLoss } from '#worker/model/index.ts';

/** One auxiliary loss of a micro-batch. */
export interface AuxiliaryValue {
  readonly name: string;
  /** Before its coefficient. */
  readonly value: number;
  /** What it adds to the loss of the step. */
  readonly weighted: number;
}

/** Evaluates `losses` on the routing of all MoE layers; gradients are scaled by coefficient and accumulation. */
export function auxiliaryLosses(
  losses: readonly RoutingLoss[],
  layers: readonly LayerRouting[],
  microBatches: number,
): {
  readonly auxiliary: readonly AuxiliaryValue[];
  readonly gradients: readonly (LayerRoutingGradient | null)[];
} {
  const gradients: (LayerRoutingGradient | null)[] = layers.map(() => null);
  const auxiliary = losses.map((loss) => {
    const { value, gradients: own } = loss.evaluate(layers);
    const scale = loss.coefficient / (loss.accumulation === 'mean' ? microBatches : 1);
    own.forEach((gradient, index) => {
      gradients[index] = {
        probabilities_NE: addScaled(gradients[index]?.probabilities_NE, gradient.probabilities_NE, scale),
        logSumExp_N: addScaled(gradients[index]?.logSumExp_N, gradient.logSumExp_N, scale),
        weights_NE: addScaled(gradients[index]?.weights_NE, gradient.weights_NE ?? null, scale),
      };
    });
    return { name: loss.name, value, weighted: value * scale };
  });
  return { auxiliary, gradients };
}

function addScaled(
  sofar: Float32Array | null | undefined,
  more: Float32Array | null,
  scale: number,
): Float32Array | null {
  if (more === null) return sofar ?? null;
  return more.map((value, i) => (sofar?.[i] ?? 0) + value * scale);
}
