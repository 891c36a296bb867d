/** A run as lists, charts and comparisons see it. */
import { z } from 'zod';
import { CheckpointInfo } from './checkpoint.ts';
import { RunId } from './ids.ts';
import { Evaluation, PackedRouting, RunEventRecord, StepMetrics } from './metrics.ts';
import { RunSpec } from './run-spec.ts';
import { RunState, WorkerExit } from './run-state.ts';
import { ErrorInfoSchema } from './result.ts';

/** A run as a row of a list. */
export const RunSummary = z.object({
  id: RunId,
  name: z.string(),
  state: RunState,
  method: z.string(),
  modelName: z.string(),
  createdMs: z.number(),
  /** Last committed step and how many the run will have; absent until the data are prepared. */
  lastStep: z.int(),
  totalSteps: z.int().optional(),
  lastLoss: z.number().optional(),
  /** Why the run is in its state, where there is more to say than the state's name. */
  reason: z.string().optional(),
});
export type RunSummary = z.infer<typeof RunSummary>;

/** Which operators of the programs of a step run on a graphics adapter, as ONNX Runtime recorded it. */
export const Placement = z.object({
  onAdapter: z.int(),
  /** On the processor, computing sizes: that is where they belong. */
  sizesOnCpu: z.int(),
  /** On the processor though they compute more than sizes, by kind: there should be none. */
  leftToCpu: z.array(z.object({ operator: z.string(), count: z.int() })),
});
export type Placement = z.infer<typeof Placement>;

/** Facts fixed when the worker has prepared the run; the worker writes them, the host reads them. */
export const RunFacts = z.object({
  family: z.string(),
  layers: z.int(),
  moeLayers: z.int(),
  /** Decoder layer index of each MoE layer, in order: rows of every routing record. */
  moeLayerIndices: z.array(z.int()),
  experts: z.int(),
  expertsPerToken: z.int(),
  trainableParameters: z.number(),
  totalParameters: z.number(),
  totalSteps: z.int(),
  trainRows: z.int(),
  validationRows: z.int(),
  /** Of the general data, where the run has some. */
  generalRows: z.int().optional(),
  /** Hashes that make the result reproducible: `model`, `data`, `tokenizer`, `code`, and `general` where there are such data. */
  hashes: z.record(z.string(), z.string()),
  provider: z.string(),
  /** The graphics adapter it trains on, in words. */
  adapter: z.string().optional(),
  /** Of a run on a graphics adapter, once its first step is done. */
  placement: Placement.optional(),
  threads: z.int(),
  /** Matrices of frozen experts that are rounded to int8 rows (`engine.frozenExperts`); absent: none. */
  roundedMatrices: z.int().positive().optional(),
  /** Parameters that do not train and lie on the adapter in float16 (`engine.deviceWeights`); absent: none. */
  halfParameters: z.int().positive().optional(),
  /** What the plan foresaw, to be held against what was measured. */
  estimatedMemoryMB: z.number(),
  estimatedSeconds: z.object({ low: z.number(), high: z.number() }).optional(),
});
export type RunFacts = z.infer<typeof RunFacts>;

/** Everything the page of a run shows besides its series. */
export const RunDetail = RunSummary.extend({
  spec: RunSpec,
  facts: RunFacts.optional(),
  checkpoints: z.array(CheckpointInfo),
  exit: WorkerExit.optional(),
  error: ErrorInfoSchema.optional(),
  peakRssMB: z.number().optional(),
  /** Most memory of the graphics adapter. */
  peakDeviceMB: z.number().optional(),
  trainedSeconds: z.number(),
  /** Heartbeat age in milliseconds while a worker belongs to the run. */
  heartbeatAgeMs: z.number().optional(),
});
export type RunDetail = z.infer<typeof RunDetail>;

/** Everything committed after `afterStep` / `afterEvent`; the caller reads on from its own marks. */
export const SeriesQuery = z.object({
  id: RunId,
  afterStep: z.int().default(-1),
  afterEvent: z.int().default(0),
});
/** What a run committed since the marks of a query. */
export const Series = z.object({
  steps: z.array(StepMetrics),
  evaluations: z.array(Evaluation),
  events: z.array(RunEventRecord),
});
export type Series = z.infer<typeof Series>;

/** Routing records of steps in `[fromStep, toStep]`, thinned evenly to at most `limit`, the last one always kept. */
export const RoutingQuery = z.object({
  id: RunId,
  fromStep: z.int().default(0),
  toStep: z.int().optional(),
  limit: z.int().positive().max(2000).default(200),
});
/** How the routers of a run chose. */
export const RoutingSeries = z.object({ records: z.array(PackedRouting) });

/** A mean over repetitions; `half` is half the width of its 95 % interval (Student's t), absent for one repetition. */
export const Estimate = z.object({
  mean: z.number(),
  half: z.number().optional(),
  runs: z.int().positive(),
});
export type Estimate = z.infer<typeof Estimate>;

/** What is compared of runs. */
export const Measure = z.enum([
  'validationLoss',
  'forgetting',
  'trainingLoss',
  'tokens',
  'seconds',
  'tokensPerSecond',
  'peakRssMB',
  'trainableParameters',
  'checkpointBytes',
  'activeExperts',
]);
export type Measure = z.infer<typeof Measure>;

/** Runs side by side. */
export const Comparison = z.object({
  runs: z.array(
    z.object({
      id: RunId,
      name: z.string(),
      method: z.string(),
      state: RunState,
      steps: z.int(),
      finalLoss: z.number().optional(),
      finalValidationLoss: z.number().optional(),
      /** Loss on the general data at the end minus that before the first step. */
      forgetting: z.number().optional(),
      tokens: z.number(),
      seconds: z.number(),
      tokensPerSecond: z.number().optional(),
      peakRssMB: z.number().optional(),
      trainableParameters: z.number().optional(),
      /** The last checkpoint on disk: what trains, with its optimizer state. */
      checkpointBytes: z.number().optional(),
      /** Experts that compute a token in a MoE layer, always-active ones included; mean over recorded steps and layers. */
      activeExperts: z.number().optional(),
      /** Mean over optimizer steps of the per-layer Gini coefficient of expert load, one number a layer. */
      gini_L: z.array(z.number()),
      /** Jensen–Shannon divergence (natural logarithm) between the load of the first and last tenth of the run, per layer. */
      drift_L: z.array(z.number()),
    }),
  ),
  /** Runs that differ only in their seed, together. */
  groups: z.array(
    z.object({
      label: z.string(),
      method: z.string(),
      learningRate: z.number(),
      /**
       * Among groups that differ only in learning rate: whether this one stands for them, by the lowest mean validation
       * loss of those with every seed. Absent where one rate was tried.
       */
      bestRate: z.boolean().optional(),
      runs: z.array(RunId),
      /** Of the completed runs, which alone are measured. */
      seeds: z.array(z.int()),
      measures: z.partialRecord(Measure, Estimate),
      /** Validation loss minus that of the `referenceGroup`, paired by seed. */
      difference: Estimate.optional(),
    }),
  ),
  /** How the learning rate of each method was chosen and what to make of it, in sentences; empty where each ran with one. */
  rateChoice: z.array(z.string()),
  /** Measures that one of the caveats makes incomparable between the runs. */
  notComparable: z.array(Measure),
  /** Fields of the run specs that differ: dotted path → one value a run (JSON text, absent = null). */
  differences: z.array(z.object({ field: z.string(), values: z.array(z.string().nullable()) })),
  /** Why the runs are not strictly comparable (other data, loss mask, budget, base), in sentences. */
  caveats: z.array(z.string()),
});
export type Comparison = z.infer<typeof Comparison>;

/** The group that the others are held against: the first one that stands for a method. */
export function referenceGroup<G extends Pick<Comparison['groups'][number], 'bestRate'>>(
  groups: readonly G[],
): G | undefined {
  return groups.find(({ bestRate }) => bestRate !== false);
}
