/** Means over independent repetitions, and shares of counts, with their uncertainty. */
import type { Estimate } from '#core/contract/run.ts';
import type { Share } from '#core/contract/share.ts';

/** 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom. */
const T_QUANTILES = [
  12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.306, 2.2622, 2.2281, 2.201, 2.1788, 2.1604,
  2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.093, 2.086, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555,
  2.0518, 2.0484, 2.0452, 2.0423,
];
/** The same of the normal distribution. */
const Z = 1.959964;

/** 97.5 % quantile of Student's t; above 30 degrees of freedom by the expansion of Fisher and Cornish in 1/ν. */
export function tQuantile(degrees: number): number {
  const listed = T_QUANTILES[degrees - 1];
  if (listed !== undefined) return listed;
  return Z + (Z ** 3 + Z) / (4 * degrees) + (5 * Z ** 5 + 16 * Z ** 3 + 3 * Z) / (96 * degrees ** 2);
}

/** Mean and half width of its 95 % interval, t · s / √n with the sample's standard deviation s; no interval for one value. */
export function estimateOf(values: readonly number[]): Estimate | undefined {
  const runs = values.length;
  if (runs === 0) return undefined;
  const mean = values.reduce((sum, value) => sum + value, 0) / runs;
  if (runs === 1) return { mean, runs };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (runs - 1);
  return { mean, runs, half: tQuantile(runs - 1) * Math.sqrt(variance / runs) };
}

/** `count` of `total` as a share, with its 95 % interval (Wilson 1927). */
export function shareOf(count: number, total: number): Share {
  const share = count / total;
  const middle = (share + Z ** 2 / (2 * total)) / (1 + Z ** 2 / total);
  const half =
    (Z * Math.sqrt((share * (1 - share)) / total + Z ** 2 / (4 * total ** 2))) / (1 + Z ** 2 / total);
  return { share, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}
