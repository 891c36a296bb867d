/** What can be trained beside a frozen weight matrix: a low-rank product, or sub-matrices that replace parts of it. */
import { adapterOf, adapterParameters, adapterParts, mergeAdapter, type LowRankPlan } from './low-rank.ts';
import type { ParameterRole, WeightRole } from './parameter-roles.ts';
import type { Parameter } from './parameters.ts';
import { placeSubmatrices, submatrixParameter, type SubmatrixPlan } from './submatrices.ts';

/** Adapters of a model: which weights have one, and what they are. */
export type AdapterPlan = LowRankPlan | SubmatrixPlan;

/** The adapters as they are when a model is used: nothing is left out at random. */
export function withoutDropout(plan: AdapterPlan | null): AdapterPlan | null {
  return hasDropout(plan) ? { ...plan, dropout: 0 } : plan;
}

/** Whether training leaves inputs of the adapters out at random. */
export function hasDropout(plan: AdapterPlan | null): plan is LowRankPlan {
  return plan?.kind === 'low-rank' && plan.dropout > 0;
}

/** A role, and those of everything that can be beside a weight in it. */
export function withAdapterRoles(role: WeightRole): ParameterRole[] {
  const parts = [...adapterParts({ magnitude: true }), 'submatrices'] as const;
  return [role, ...parts.map((part) => `${role}.${part}` as const)];
}

/** Whether a weight has an adapter. */
export function isAdapted(plan: AdapterPlan, { id, role }: Parameter): boolean {
  switch (plan.kind) {
    case 'low-rank':
      return plan.roles.has(role);
    case 'submatrices':
      return plan.places.has(id);
  }
}

/** Ids of the parameters that the adapters of `weights` consist of. */
export function adapterIds(plan: AdapterPlan, weights: readonly Parameter[]): string[] {
  switch (plan.kind) {
    case 'low-rank':
      return adapterParameters(weights, plan).map(({ id }) => id);
    case 'submatrices':
      return weights
        .filter((weight) => isAdapted(plan, weight))
        .map((weight) => submatricesOf(plan, weight).id);
  }
}

/**
 * The weight that computes what `values` and the adapter beside them compute together.
 * @param read values of a parameter of the adapter, by its id.
 */
export function adaptedValues(
  plan: AdapterPlan,
  weight: Parameter,
  values: Float32Array,
  read: (id: string) => Float32Array,
): Float32Array {
  switch (plan.kind) {
    case 'low-rank':
      return mergeAdapter(values, adapterOf(weight, plan, read));
    case 'submatrices': {
      const { size, places } = plan;
      const [, width = 0] = weight.shape;
      const { id } = submatricesOf(plan, weight);
      return placeSubmatrices(values, read(id), size, places.get(weight.id) ?? [], width);
    }
  }
}

function submatricesOf({ size, places }: SubmatrixPlan, weight: Parameter): Parameter {
  return submatrixParameter(weight, size, places.get(weight.id) ?? []);
}
