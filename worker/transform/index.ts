/** Checkpoints made from other checkpoints: sparse upcycling, pruning of neurons. */
export { scoreNeurons } from './neuron-scores.ts';
export { pruneScopes, selectNeurons } from './select-neurons.ts';
export type { DroppedNeurons } from './select-neurons.ts';
export { upcycle } from './upcycle.ts';
export { writePruned } from './write-pruned.ts';
export type { PrunedLayout } from './write-pruned.ts';
