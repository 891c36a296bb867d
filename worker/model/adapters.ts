/**
 * Low-rank adapters beside weight matrices, as PEFT computes them: LoRA (Hu et al. 2021, arXiv 2106.09685)
 * `y = x Wᵀ + s (x Aᵀ) Bᵀ`, and DoRA (Liu et al. 2024, arXiv 2402.09353), where each output is multiplied by `m / n`, n the
 * norm of its row of `W + s B A`, taken as a constant by differentiation.
 */
import { invariant } from '#core/contract/errors.ts';
import type { AdapterPart, ParameterRole, WeightRole } from './parameter-roles.ts';
import { parameterId, type Parameter } from './parameters.ts';

/** The weights of linear maps, which stages read through `linear`: those that can have an adapter. */
export const adaptableRoles: ReadonlySet<ParameterRole> = new Set<WeightRole>([
  'query',
  'key',
  'value',
  'output',
  'outputGate',
  'queryDown',
  'keyValueDown',
  'keyValueUp',
  'router',
  'expertGate',
  'expertUp',
  'expertDown',
  'sharedGate',
  'sharedUp',
  'sharedDown',
  'sharedMix',
  'denseGate',
  'denseUp',
  'denseDown',
]);

/** Which weights have an adapter, and how it counts. */
export interface AdapterPlan {
  /** Every weight in one of these roles has one. */
  readonly roles: ReadonlySet<string>;
  readonly rank: number;
  /** s above is α / rank, or α / √rank where it is `rankStabilised` (Kalajdzievski 2023, arXiv 2312.03732). */
  readonly alpha: number;
  readonly rankStabilised: boolean;
  /** DoRA: a trained magnitude m for each output. */
  readonly magnitude: boolean;
}

/** s, what B A is multiplied by. */
export function adapterScale({
  rank,
  alpha,
  rankStabilised,
}: Pick<AdapterPlan, 'rank' | 'alpha' | 'rankStabilised'>): number {
  return alpha / (rankStabilised ? Math.sqrt(rank) : rank);
}

/** The parts an adapter has. */
function adapterParts({ magnitude }: Pick<AdapterPlan, 'magnitude'>): readonly AdapterPart[] {
  return magnitude ? ['loraA', 'loraB', 'magnitude'] : ['loraA', 'loraB'];
}

/** A role, and those of the parts of an adapter beside it. */
export function withAdapterRoles(role: WeightRole): ParameterRole[] {
  return [role, ...adapterParts({ magnitude: true }).map((part) => `${role}.${part}` as const)];
}

/** A part of an adapter, and the weight it is beside. */
export interface AdapterParameter extends Parameter {
  readonly part: AdapterPart;
  readonly weight: Parameter;
}

/** The parts of the adapters of a model whose weights are `parameters`. */
export function adapterParameters(parameters: readonly Parameter[], plan: AdapterPlan): AdapterParameter[] {
  return parameters
    .filter(({ role }) => plan.roles.has(role))
    .flatMap((weight) => adapterParts(plan).map((part) => partBeside(weight, part, plan.rank)));
}

function partBeside(weight: Parameter, part: AdapterPart, rank: number): AdapterParameter {
  const [out = 0, width = 0] = weight.shape;
  const role = `${weight.role as WeightRole}.${part}` as const;
  const shape = { loraA: [rank, width], loraB: [out, rank], magnitude: [out] }[part];
  const { layer, expert } = weight;
  return { id: parameterId(role, layer, expert), role, layer, expert, shape, part, weight };
}

/** Euclidean norm of each of `rows` rows. */
export function rowNorms(matrix: ArrayLike<number>, rows: number): Float32Array {
  const width = matrix.length / rows;
  return Float32Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let column = 0; column < width; column++) sum += (matrix[row * width + column] ?? 0) ** 2;
    return Math.sqrt(sum);
  });
}

/** Values of one adapter, row by row: A `[rank, in]`, B `[out, rank]`, and of DoRA m `[out]`. */
export interface AdapterValues {
  readonly loraA: Float32Array;
  readonly loraB: Float32Array;
  readonly magnitude: Float32Array | null;
}

/**
 * The one weight that computes what a weight and its adapter compute together: `W + s B A`, for DoRA with each row brought
 * to the length m.
 */
export function mergeAdapter(
  weight: Float32Array,
  { loraA, loraB, magnitude }: AdapterValues,
  plan: Pick<AdapterPlan, 'rank' | 'alpha' | 'rankStabilised'>,
): Float32Array {
  const { rank } = plan;
  const scale = adapterScale(plan);
  const out = loraB.length / rank;
  const width = loraA.length / rank;
  invariant(weight.length === out * width, `an adapter of ${out} × ${width} beside ${weight.length} weights`);
  const sum = Float64Array.from(weight);
  for (let row = 0; row < out; row++) {
    const target = sum.subarray(row * width, (row + 1) * width);
    for (let r = 0; r < rank; r++) {
      const b = scale * (loraB[row * rank + r] ?? 0);
      for (let column = 0; column < width; column++)
        target[column] = (target[column] ?? 0) + b * (loraA[r * width + column] ?? 0);
    }
  }
  if (magnitude === null) return Float32Array.from(sum);
  const norms = rowNorms(sum, out);
  return Float32Array.from(sum, (value, i) => {
    const row = Math.floor(i / width);
    return (value * (magnitude[row] ?? 0)) / (norms[row] ?? 0);
  });
}
