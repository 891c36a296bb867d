/** Routing of an optimizer step, added up over its micro-batches. */
import type { RoutingRecord } from '#core/contract/metrics.ts';
import type { LayerUsage, RouterState } from '#worker/model/index.ts';

/** Sums usage over micro-batches. */
export class RoutingTotals {
  #counts: Uint32Array | null = null;
  #mass: Float32Array | null = null;
  #soft: Float32Array | null = null;

  /** Adds one micro-batch; all layers have the same number of experts. */
  add(usage: readonly LayerUsage[]): void {
    const experts = usage[0]?.hard_E.length ?? 0;
    const counts = (this.#counts ??= new Uint32Array(usage.length * experts));
    const mass = (this.#mass ??= new Float32Array(usage.length * experts));
    const soft = (this.#soft ??= new Float32Array(usage.length * experts));
    usage.forEach((layer, l) => {
      for (let e = 0; e < experts; e++) {
        const at = l * experts + e;
        counts[at] = (counts[at] ?? 0) + (layer.hard_E[e] ?? 0);
        mass[at] = (mass[at] ?? 0) + (layer.mass_E[e] ?? 0);
        soft[at] = (soft[at] ?? 0) + (layer.soft_E[e] ?? 0);
      }
    });
  }

  /**
   * The record of `step`; null when there are no MoE layers. Starts again from zero.
   * @param gradNorm_LE norm of each expert's gradient.
   */
  take(step: number, { bias_LE, condensers }: RouterState, gradNorm_LE: Float32Array): RoutingRecord | null {
    const [counts_LE, mass_LE, soft_LE] = [this.#counts, this.#mass, this.#soft];
    this.#counts = this.#mass = this.#soft = null;
    if (counts_LE === null || mass_LE === null || soft_LE === null || counts_LE.length === 0) return null;
    return {
      step,
      counts_LE,
      mass_LE,
      soft_LE,
      gradNorm_LE,
      ...(bias_LE && { bias_LE }),
      ...(condensers && { condensers }),
    };
  }
}
