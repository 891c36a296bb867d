/** What a run needs before it starts: operations, memory on both sides of the bus, time. */
export {
  DEVICE_HINT,
  type DevicePlan,
  RESIDENT,
  checkDevice,
  deviceMeasures,
  deviceProblem,
  placeUnder,
  planDevice,
} from './device-plan.ts';
export { halfParameters, halvesUnder } from './half-weights.ts';
export { type MemoryPlan, exceedsBudget, memoryBudgetMB, planMemory } from './memory-plan.ts';
export { heldExperts, roundedMatrices, roundedUnder, roundingMeasures } from './rounded-experts.ts';
export { type ModelLayout, productFlops } from './step-cost.ts';
export { estimateTime } from './time-estimate.ts';
export { estimateSteps, trainingSteps } from './training-steps.ts';
