import type { z } from 'zod';
import type { RoutingAudit } from '#core/contract/audit.ts';
import type { CheckpointInfo } from '#core/contract/checkpoint.ts';
import type { RoutingRecord } from '#core/contract/metrics.ts';
import type { RunFacts, RunSummary, Series } from '#core/contract/run.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import type { SuiteScore } from '#core/contract/suite-score.ts';

/** Everything a report or a comparison reads of one run. */
export interface RunData {
  readonly summary: RunSummary;
  readonly spec: RunSpec;
  /** Null where the run never got as far as its data. */
  readonly facts: z.infer<typeof RunFacts> | null;
  /** From the first step on. */
  readonly series: z.infer<typeof Series>;
  /** Evenly thinned over the whole run, in order of steps; rows are the layers of `facts.moeLayerIndices`. */
  readonly routing: readonly RoutingRecord[];
  readonly checkpoints: readonly CheckpointInfo[];
  /** Absent where the run was not audited. */
  readonly audit?: RoutingAudit;
  /** What its checkpoint scored on suites of questions; none where it was not asked. */
  readonly scores: readonly SuiteScore[];
}

/** Sums and last values of a series; what was not measured is absent. */
export interface SeriesTotals {
  readonly steps: number;
  /** Non-padding tokens. */
  readonly tokens: number;
  readonly trainedTokens: number;
  /** Time in optimizer steps, without evaluation, checkpoints and pauses: Σ tokens / (tokens per second). */
  readonly seconds: number;
  /** Σ tokens / seconds. */
  readonly tokensPerSecond?: number;
  readonly peakRssMB?: number;
  /** Mean over the trained tokens of the first and of the last tenth of the steps: one step alone is noise. */
  readonly firstLoss?: number;
  readonly finalLoss?: number;
  /** Of the first, last and lowest evaluation. */
  readonly firstValidation?: { readonly step: number; readonly loss: number };
  readonly finalValidation?: { readonly step: number; readonly loss: number };
  readonly bestValidation?: { readonly step: number; readonly loss: number };
  /** Loss on the general data in the first and in the last evaluation, which are two. */
  readonly general?: { readonly first: number; readonly final: number };
}

/** Adds up what `run` measured. */
export function totalsOf(run: RunData): SeriesTotals {
  const { steps, evaluations } = run.series;
  const sum = (of: (row: (typeof steps)[number]) => number) =>
    steps.reduce((total, row) => total + of(row), 0);
  const tokens = sum((row) => row.tokens);
  const seconds = sum((row) => (row.tokensPerSecond > 0 ? row.tokens / row.tokensPerSecond : 0));
  const lossOf = (rows: typeof steps): number => {
    const trained = rows.reduce((total, row) => total + row.trainedTokens, 0);
    return rows.reduce((total, row) => total + row.loss * row.trainedTokens, 0) / trained;
  };
  const tenth = Math.ceil(steps.length / 10);
  const trained = sum((row) => row.trainedTokens);
  const first = evaluations[0];
  const final = evaluations.at(-1);
  const best = evaluations.toSorted((a, b) => a.loss - b.loss)[0];
  const point = ({ step, loss }: { step: number; loss: number }) => ({ step, loss });
  return {
    steps: steps.length,
    tokens,
    trainedTokens: trained,
    seconds,
    ...(seconds > 0 && { tokensPerSecond: tokens / seconds }),
    ...(steps.length > 0 && { peakRssMB: steps.reduce((peak, row) => Math.max(peak, row.rssMB), 0) }),
    ...(trained > 0 && { firstLoss: lossOf(steps.slice(0, tenth)), finalLoss: lossOf(steps.slice(-tenth)) }),
    ...(first && { firstValidation: point(first) }),
    ...(final && { finalValidation: point(final) }),
    ...(best && { bestValidation: point(best) }),
    ...(first?.general &&
      final?.general &&
      final.step > first.step && { general: { first: first.general.loss, final: final.general.loss } }),
  };
}
