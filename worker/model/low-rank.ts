/**
 * Low-rank adapters beside weight matrices, as PEFT computes them: LoRA (Hu et al. 2021, arXiv 2106.09685)
 * `y = x Wᵀ + s (x Aᵀ) Bᵀ`, and DoRA (Liu et al. 2024, arXiv 2402.09353), where each output is multiplied by `m / n`, n the
 * norm of its row of `W + s B A`, taken as a constant by differentiation. With dropout x̃ = mask ⊙ x in training,
 * `y = x Wᵀ + s (x̃ Aᵀ) Bᵀ`, and of DoRA `y = x Wᵀ + (m / n − 1) x̃ Wᵀ + (m / n) s (x̃ Aᵀ) Bᵀ`.
 */
import { invariant } from '#core/contract/errors.ts';
import type { LowRankPart, ParameterRole, WeightRole } from './parameter-roles.ts';
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
export interface LowRankPlan {
  readonly kind: 'low-rank';
  /** Every weight in one of these roles has one of this size. */
  readonly roles: ReadonlyMap<string, AdapterSize>;
  readonly rankStabilised: boolean;
  /** DoRA: a trained magnitude m for each output. */
  readonly magnitude: boolean;
  /** Part of an adapter's inputs that training leaves out at random; 0: none. */
  readonly dropout: number;
}

/** Rank and α of an adapter. */
export interface AdapterSize {
  readonly rank: number;
  readonly alpha: number;
}

/** The size of the adapter beside weights in `role`. */
function adapterSize({ roles }: Pick<LowRankPlan, 'roles'>, role: string): AdapterSize {
  const size = roles.get(role);
  invariant(size !== undefined, `${role} has an adapter`);
  return size;
}

/** s, what B A is multiplied by: α / rank, or α / √rank where it is rank-stabilised (Kalajdzievski 2023, arXiv 2312.03732). */
export function adapterScale({ rank, alpha }: AdapterSize, rankStabilised: boolean): number {
  return alpha / (rankStabilised ? Math.sqrt(rank) : rank);
}

/** The parts an adapter has. */
export function adapterParts({ magnitude }: Pick<LowRankPlan, 'magnitude'>): readonly LowRankPart[] {
  return magnitude ? ['loraA', 'loraB', 'magnitude'] : ['loraA', 'loraB'];
}

/** A part of an adapter, and the weight it is beside. */
export interface AdapterParameter extends Parameter {
  readonly part: LowRankPart;
  readonly weight: Parameter;
}

/** The parts of the adapters of a model whose weights are `parameters`. */
export function adapterParameters(parameters: readonly Parameter[], plan: LowRankPlan): AdapterParameter[] {
  return parameters
    .filter(({ role }) => plan.roles.has(role))
    .flatMap((weight) =>
      adapterParts(plan).map((part) => partBeside(weight, part, adapterSize(plan, weight.role).rank)),
    );
}

function partBeside(weight: Parameter, part: LowRankPart, rank: number): AdapterParameter {
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
  readonly rank: number;
  /** s, what B A is multiplied by. */
  readonly scale: number;
  readonly loraA: Float32Array;
  readonly loraB: Float32Array;
  readonly magnitude: Float32Array | null;
}

/**
 * The values of the adapter beside `weight`.
 * @param read values of a parameter by its id.
 */
export function adapterOf(
  weight: Parameter,
  plan: LowRankPlan,
  read: (id: string) => Float32Array | undefined,
): AdapterValues {
  const parts = new Map(adapterParameters([weight], plan).map(({ id, part }) => [part, read(id)]));
  const [loraA, loraB] = [parts.get('loraA'), parts.get('loraB')];
  invariant(loraA !== undefined && loraB !== undefined, `${weight.id} has an adapter of two matrices`);
  const size = adapterSize(plan, weight.role);
  const scale = adapterScale(size, plan.rankStabilised);
  return { rank: size.rank, scale, loraA, loraB, magnitude: parts.get('magnitude') ?? null };
}

/** `W + s B A` of one adapter, row by row. @param sign −1: W − s B A. */
function corrected(
  weight: Float32Array,
  { loraA, loraB, rank, scale }: AdapterValues,
  sign: 1 | -1,
): Float64Array {
  const out = loraB.length / rank;
  const width = loraA.length / rank;
  invariant(weight.length === out * width, `an adapter of ${out} × ${width} beside ${weight.length} weights`);
  const sum = Float64Array.from(weight);
  for (let row = 0; row < out; row++) {
    const target = sum.subarray(row * width, (row + 1) * width);
    for (let r = 0; r < rank; r++) {
      const b = sign * scale * (loraB[row * rank + r] ?? 0);
      for (let column = 0; column < width; column++)
        target[column] = (target[column] ?? 0) + b * (loraA[r * width + column] ?? 0);
    }
  }
  return sum;
}

/**
 * The one weight that computes what a weight and its adapter compute together: `W + s B A`, for DoRA with each row brought
 * to the length m.
 */
export function mergeAdapter(weight: Float32Array, adapter: AdapterValues): Float32Array {
  const sum = corrected(weight, adapter, 1);
  const { magnitude } = adapter;
  if (magnitude === null) return Float32Array.from(sum);
  const norms = rowNorms(sum, magnitude.length);
  const width = sum.length / magnitude.length;
  return Float32Array.from(sum, (value, i) => {
    const row = Math.floor(i / width);
    return (value * (magnitude[row] ?? 0)) / (norms[row] ?? 0);
  });
}

/** The weight that `mergeAdapter` made `merged` of, up to rounding. LoRA only: DoRA forgets the length of each row. */
export function unmergeAdapter(merged: Float32Array, adapter: AdapterValues): Float32Array {
  invariant(adapter.magnitude === null, 'an adapter with magnitudes cannot be taken out again');
  return Float32Array.from(corrected(merged, adapter, -1));
}
