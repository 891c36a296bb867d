/** The decoder as data (plan, parameters), the slots of a method, and the stage graphs. */
export * from './adapters.ts';
export * from './addition-plans.ts';
export * from './additions.ts';
export * from './attention-parameters.ts';
export * from './low-rank.ts';
export * from './submatrices.ts';
export * from './decoder-graph.ts';
export * from './decoder-plan.ts';
export { HIDDEN_SCORE } from './decoder-tables.ts';
export * from './family.ts';
export type {
  BaseRouterRole,
  GateRole,
  LocalRole,
  LowRankPart,
  ParameterRole,
  TokenRouterRole,
  WeightRole,
} from './parameter-roles.ts';
export * from './parameters.ts';
export * from './routing.ts';
export * from './method-context.ts';
export * from './routing-slots.ts';
export * from './slots.ts';
export * from './stored-block.ts';
export * from './token-router.ts';
export * from './top-k.ts';
export * from './rope.ts';
export * from './stages/index.ts';
