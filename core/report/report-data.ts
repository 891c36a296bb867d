/** Everything a report says, before layout: what `buildReport` makes and the three writers lay out. */
import type { z } from 'zod';
import type { Comparison, RunFacts } from '#core/contract/run.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import type { SuiteScore } from '#core/contract/suite-score.ts';
import type { RoutingAudit } from '#core/contract/audit.ts';
import type { UsageComparison } from '#core/contract/usage-difference.ts';
import type { RunFinding } from '#core/contract/run-finding.ts';
import type { SeriesTotals } from './run-data.ts';

/** A point of a curve. */
export interface CurvePoint {
  readonly step: number;
  readonly loss: number;
}

/** Loss over steps; every list is in order of steps. */
export interface LossCurve {
  /** As measured, thinned evenly. */
  readonly train: readonly CurvePoint[];
  /** Exponential moving average over a fiftieth of the run, thinned at the same steps. */
  readonly smoothed: readonly CurvePoint[];
  readonly validation: readonly CurvePoint[];
}

/** One layer over the run; loads are those of the first and last tenth. */
export interface LayerReport {
  /** Index in the decoder. */
  readonly layer: number;
  /** Mean over the recorded steps. */
  readonly meanGini: number;
  readonly firstGini: number;
  readonly lastGini: number;
  readonly entropyNormalised: number;
  readonly maxOverMean: number;
  readonly dead: number;
  /** Experts with more than `OVERLOAD` times the uniform load. */
  readonly overloaded: number;
  readonly expertsForHalf: number;
  /** Jensen–Shannon, nats; absent with one record. */
  readonly drift?: number;
  /** Share of the selections that moved to other experts between first and last tenth; absent with one record. */
  readonly moved?: number;
  readonly condensers: readonly number[];
}

/** Load ÷ uniform by layer and expert: 1 is uniform, 0 no token. */
export interface LoadMap {
  readonly fromStep: number;
  readonly toStep: number;
  readonly load_LE: readonly (readonly number[])[];
}

/** Expert usage of one run. */
export interface RoutingReport {
  readonly layers: readonly LayerReport[];
  readonly experts: number;
  readonly expertsPerToken: number;
  readonly first: LoadMap;
  readonly last: LoadMap;
  /** Router bias after the last recorded step, where the method keeps one. */
  readonly bias_LE?: readonly (readonly number[])[];
}

/** One run of a report. */
export interface RunReport {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly reason?: string;
  readonly method: string;
  readonly modelName: string;
  readonly createdMs: number;
  readonly spec: RunSpec;
  readonly facts: z.infer<typeof RunFacts> | null;
  readonly totals: SeriesTotals;
  readonly curve: LossCurve;
  readonly findings: readonly RunFinding[];
  /** Absent where no routing was recorded. */
  readonly routing?: RoutingReport;
  /** Absent where the run was not audited. */
  readonly audit?: RoutingAudit;
  readonly scores: readonly SuiteScore[];
}

/** Everything a report says, before layout. */
export interface ReportData {
  readonly title: string;
  readonly createdMs: number;
  /** Name and version of the program that wrote the report. */
  readonly program: string;
  readonly summary: readonly string[];
  readonly runs: readonly RunReport[];
  readonly comparison: z.infer<typeof Comparison>;
  /** Expert usage of each further run minus that of the first. */
  readonly usage: readonly UsageComparison[];
  /** How the numbers were counted, in sentences. */
  readonly method: readonly string[];
}
