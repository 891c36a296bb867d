/**
 * Checkpoints made from other checkpoints: sparse upcycling, pruning of neurons, gates of local experts; what a model loses without
 * experts.
 */
export { expertCriteria, removalModes, studyExperts } from './expert-study.ts';
export { fitGates, loadUngated } from './gate-fit.ts';
export type { GateFitMeasure } from './gate-fit.ts';
export { neuronScoreNames, readsData, scoreNeurons, takesGradients } from './neuron-scores.ts';
export { pruneScopes, selectNeurons } from './select-neurons.ts';
export type { DroppedNeurons } from './select-neurons.ts';
export { seededDraws, upcycle } from './upcycle.ts';
export { prunedLayouts, writePruned } from './write-pruned.ts';
export type { PrunedLayout } from './write-pruned.ts';
