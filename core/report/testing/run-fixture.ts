/** A run for tests: deterministic, shaped by the few numbers a test cares about. */
import { type RunSpec, parseRunSpec } from '#core/contract/run-spec.ts';
import type { RoutingRecord, StepMetrics } from '#core/contract/metrics.ts';
import type { RunData } from '../run-data.ts';

/** What a test can set; everything else follows. */
export interface RunShape {
  readonly id?: string;
  readonly name?: string;
  readonly state?: RunData['summary']['state'];
  readonly steps?: number;
  readonly layers?: number;
  readonly experts?: number;
  /** Loss of step `i` of `n`. */
  readonly loss?: (i: number, n: number) => number;
  readonly step?: Partial<StepMetrics>;
  readonly evaluations?: readonly (readonly [step: number, loss: number])[];
  /** Selections in record `r` of `n` of expert `e` in layer `l`; absent: no routing recorded. */
  readonly load?: (r: number, n: number, l: number, e: number) => number;
  readonly records?: number;
  readonly bias?: (l: number, e: number) => number;
  readonly condensers?: readonly (readonly number[])[];
  readonly halfParameters?: number;
  readonly hashes?: Readonly<Record<string, string>>;
  /** Merged into the document that becomes the specification. */
  readonly spec?: { readonly [K in keyof RunSpec]?: unknown };
}

/** Builds the run. */
export function runFixture(shape: RunShape = {}): RunData {
  const { steps = 100, layers = 2, experts = 4, records = 20, name = 'a run', load } = shape;
  const spec = parseRunSpec({
    name,
    model: { path: '/models/tiny' },
    data: { train: [{ path: '/data/rows.jsonl' }] },
    method: { name: 'full' },
    train: { steps },
    ...shape.spec,
  });
  const loss = shape.loss ?? ((i, n) => 2 - i / n);
  const rows: StepMetrics[] = Array.from({ length: steps }, (_, i) => ({
    step: i + 1,
    wallMs: 1_760_000_000_000 + i * 500,
    loss: loss(i, steps),
    learningRate: 1e-5,
    gradNorm: 0.5,
    tokens: 1000,
    trainedTokens: 600,
    tokensPerSecond: 2000,
    rssMB: 1500,
    ...shape.step,
  }));
  const routing: RoutingRecord[] = load
    ? Array.from({ length: records }, (_, r) => ({
        step: Math.round(1 + ((steps - 1) * r) / Math.max(1, records - 1)),
        counts_LE: Uint32Array.from({ length: layers * experts }, (_, i) =>
          load(r, records, Math.floor(i / experts), i % experts),
        ),
        ...(shape.bias && {
          bias_LE: Float32Array.from(
            { length: layers * experts },
            (_, i) => shape.bias?.(Math.floor(i / experts), i % experts) ?? 0,
          ),
        }),
        ...(shape.condensers && { condensers: shape.condensers }),
      }))
    : [];
  return {
    summary: {
      id: shape.id ?? 'run_a',
      name,
      state: shape.state ?? 'completed',
      method: spec.method.name,
      modelName: 'tiny',
      createdMs: 1_760_000_000_000,
      lastStep: steps,
      totalSteps: steps,
    },
    spec,
    facts: {
      family: 'olmoe',
      layers: layers + 1,
      moeLayers: layers,
      moeLayerIndices: Array.from({ length: layers }, (_, l) => l + 1),
      experts,
      expertsPerToken: 2,
      trainableParameters: 1_200_000,
      totalParameters: 4_800_000,
      totalSteps: steps,
      trainRows: 900,
      validationRows: 100,
      hashes: shape.hashes ?? { model: 'aa', data: 'bb', tokenizer: 'cc', code: 'dd' },
      provider: 'cpu',
      threads: 2,
      ...(shape.halfParameters !== undefined && { halfParameters: shape.halfParameters }),
      estimatedMemoryMB: 1800,
    },
    series: {
      steps: rows,
      evaluations: (shape.evaluations ?? []).map(([step, value]) => ({
        step,
        loss: value,
        trainedTokens: 5000,
      })),
      events: [],
    },
    routing,
    checkpoints: [],
    scores: [],
  };
}
