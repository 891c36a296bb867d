/** One expert's load, gate mass and bias over the run. */
import { type PackedRouting, unpackRouting } from '#core/contract/metrics.ts';
import type { z } from 'zod';

/** An expert: row of the routing records, and number. */
export interface ExpertPlace {
  readonly row: number;
  readonly expert: number;
}

/** The expert at one step; what was not measured, or has no meaning without tokens, is undefined. */
export interface Moment {
  readonly step: number;
  readonly load: number | undefined;
  readonly mass: number | undefined;
  readonly bias: number | undefined;
  readonly condenser: boolean;
}
/** The expert's history from routing records of `experts` experts a layer. */
export function expertHistory(
  records: readonly z.infer<typeof PackedRouting>[],
  { row, expert }: ExpertPlace,
  experts: number,
): readonly Moment[] {
  const sum = (values: Float32Array | Uint32Array) => {
    let total = 0;
    for (const value of values.subarray(row * experts, (row + 1) * experts)) total += value;
    return total;
  };
  return records.map(unpackRouting).map(({ step, counts_LE, mass_LE, bias_LE, condensers }) => {
    const i = row * experts + expert;
    const tokens = sum(counts_LE);
    const mass = mass_LE === undefined ? 0 : sum(mass_LE);
    return {
      step,
      load: tokens === 0 ? undefined : ((counts_LE[i] ?? 0) * experts) / tokens,
      mass: mass === 0 ? undefined : (mass_LE?.[i] ?? 0) / mass,
      bias: bias_LE?.[i],
      condenser: condensers?.[row]?.includes(expert) ?? false,
    };
  });
}
