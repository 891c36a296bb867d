/** The audit of a run as a table. */
import type { RoutingAudit } from '#core/contract/audit.ts';
import { percent, significant } from '../format.ts';

/** Heads of the columns, and the cells of each layer. */
export function auditRows({ layers }: RoutingAudit): {
  readonly heads: readonly string[];
  readonly rows: readonly (readonly string[])[];
} {
  const optional = (value: number | null, show: (value: number) => string) =>
    value === null ? '–' : show(value);
  return {
    heads: [
      'layer',
      'profiled, base',
      'profiled, tuned',
      'Jaccard',
      'rank correlation',
      'retention',
      'drift refused, nats',
      'drift benign, nats',
      'weight change profiled',
      'others',
      'needs review',
    ],
    rows: layers.map((row) => [
      String(row.layer),
      String(row.profiledBase),
      String(row.profiledTuned),
      row.jaccard.toFixed(2),
      row.correlation.toFixed(2),
      optional(row.retention, percent),
      significant(row.refusedDrift, 3),
      significant(row.benignDrift, 3),
      optional(row.profiledWeightChange, (value) => significant(value, 3)),
      optional(row.otherWeightChange, (value) => significant(value, 3)),
      row.flags.join(', ') || '–',
    ]),
  };
}

/** What was audited, in a sentence. */
export function auditSource({ base, tuned, step, refusedPrompts, benignPrompts }: RoutingAudit): string {
  const at = step === undefined ? '' : ` at step ${step}`;
  return `${tuned}${at} against ${base}, on ${refusedPrompts} requests that an aligned model refuses and ${benignPrompts} benign ones. Only aggregates are kept.`;
}
