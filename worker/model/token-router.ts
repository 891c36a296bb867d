/**
 * A router that reads the token alone, `ŝ_t = emb(token_t) · ĉᵀ` with word embeddings and a centroid for each expert. It learns
 * what the router of its layer chooses; what is used of it is the table of the experts it gives each token.
 */
import { moeLayerIndices, type DecoderPlan } from './decoder-plan.ts';
import type { ParameterRole, TokenRouterRole } from './parameter-roles.ts';
import { parameterId, type Parameter } from './parameters.ts';
import { shapeOf } from './routing.ts';
import { routerShapes } from './slots.ts';

/** Whether a parameter belongs to a token router. */
export function isTokenRouter({ role }: { readonly role: ParameterRole }): boolean {
  return role === 'tokenEmbedding' || role === 'tokenCentroids';
}

/** Embedding `[vocabulary, width]` and centroids `[experts, width]` of the token router of each MoE layer, in turn. */
export function tokenRouterParameters(plan: DecoderPlan, width: number): Parameter[] {
  const shapes = routerShapes(plan);
  return moeLayerIndices(plan).flatMap((layer, index) => {
    const parameter = (role: TokenRouterRole, rows: number): Parameter => ({
      id: parameterId(role, layer, null),
      role,
      layer,
      expert: null,
      shape: [rows, width],
    });
    return [
      parameter('tokenEmbedding', plan.vocabularySize),
      parameter('tokenCentroids', shapeOf(shapes, index).experts),
    ];
  });
}
