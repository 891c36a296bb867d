/** What a token router learns from the choices of its layer. */
import { GraphBuilder, op, type Graph } from '#worker/graph/index.ts';

/**
 * Graph of the cross-entropy of choices under a router that reads the token alone,
 * `loss_t = −Σ_e y_te log softmax(ŝ_t)_e` with `ŝ = rows · centroidsᵀ` (StableMoE, arXiv 2204.08396, there for one choice).
 * Inputs: `rows` [n, width], the word embeddings of the tokens, `tokenCentroids` [E, width], and `targets` y [n, E], whose rows
 * add up to 1. Output: `loss` [n], in nats.
 */
export function tokenRouterStage(experts: number, width: number): Graph {
  const builder = new GraphBuilder('token-router');
  const rows_nW = builder.input('rows', 'float32', ['n', width]);
  const centroids_EW = builder.input('tokenCentroids', 'float32', [experts, width]);
  const targets_nE = builder.input('targets', 'float32', ['n', experts]);
  const scores_nE = op.matmul(rows_nW, centroids_EW, { transB: true });
  const chosen_n = op.reduceSum(op.mul(targets_nE, scores_nE), { axes: [-1], keepDims: false });
  builder.output('loss', op.sub(op.logSumExp(scores_nE), chosen_n));
  return builder.build();
}
