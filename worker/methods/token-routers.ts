/** Routers that read the token alone: how those of StableMoE begin, and which experts they give each token. */
import {
  routerShapes,
  shapeOf,
  tokenRouterParameters,
  topK,
  type AddedParameter,
  type DecoderPlan,
  type Parameter,
} from '#worker/model/index.ts';
import { normal } from '#worker/random/index.ts';

/** Length of a centroid before the first step. */
const CENTROID_LENGTH = 0.1;

/**
 * One token router for each MoE layer, as in the published code: word embeddings begin at a standard normal distribution,
 * centroids orthogonal and of length .1.
 */
export function newTokenRouters(plan: DecoderPlan, width: number, seed: number): AddedParameter[] {
  return tokenRouterParameters(plan, width).map((parameter) => ({
    ...parameter,
    initial: () => initialValues(parameter, seed),
  }));
}

function initialValues({ id, role, shape }: Parameter, seed: number): Float32Array {
  const [rows = 0, columns = 0] = shape;
  if (role === 'tokenEmbedding') return Float32Array.from(normal(seed, id, rows * columns));
  return orthogonal(rows, columns, seed, id).map((value) => CENTROID_LENGTH * value);
}

/** A matrix whose rows are orthonormal, or its columns where these are fewer (Gram–Schmidt on normal vectors). */
function orthogonal(rows: number, columns: number, seed: number, name: string): Float32Array {
  const [count, length] = [Math.min(rows, columns), Math.max(rows, columns)];
  const drawn = normal(seed, name, count * length);
  const vectors: Float64Array[] = [];
  for (let v = 0; v < count; v++) {
    const own = drawn.subarray(v * length, (v + 1) * length);
    for (const other of vectors) {
      const share = dot(own, other);
      own.forEach((value, i) => (own[i] = value - share * (other[i] as number)));
    }
    const norm = Math.sqrt(dot(own, own));
    vectors.push(own.map((value) => value / norm));
  }
  return Float32Array.from({ length: rows * columns }, (_, at) => {
    const [row, column] = [Math.floor(at / columns), at % columns];
    const [v, i] = rows <= columns ? [row, column] : [column, row];
    return vectors[v]?.[i] ?? NaN;
  });
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);
}

/**
 * The k best experts of each token by `ŝ = emb · ĉᵀ`, `[vocabulary × k]` for each MoE layer; of equal ones the lower.
 * @param weights values of a parameter.
 */
export function tokenRouterTables(
  plan: DecoderPlan,
  width: number,
  weights: (id: string) => Float32Array,
): Int32Array[] {
  const parameters = tokenRouterParameters(plan, width);
  return routerShapes(plan).map((_, layer) => {
    const { experts, expertsPerToken } = shapeOf(routerShapes(plan), layer);
    const [embedding_VW, centroids_EW] = parameters
      .slice(2 * layer, 2 * layer + 2)
      .map(({ id }) => weights(id)) as [Float32Array, Float32Array];
    const table_VK = new Int32Array(plan.vocabularySize * expertsPerToken);
    const scores_E = new Float64Array(experts);
    for (let id = 0; id < plan.vocabularySize; id++) {
      for (let e = 0; e < experts; e++) {
        let score = 0;
        for (let i = 0; i < width; i++)
          score += (embedding_VW[id * width + i] as number) * (centroids_EW[e * width + i] as number);
        scores_E[e] = score;
      }
      table_VK.set(topK(scores_E, 1, experts, expertsPerToken), id * expertsPerToken);
    }
    return table_VK;
  });
}
