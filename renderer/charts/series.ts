/** Curves put on one x axis. */

/** Points of one curve, ascending in x. */
export interface Curve {
  readonly x: readonly number[];
  readonly y: readonly (number | null)[];
}

/** Puts curves on the union of their x values; null where a curve has no point. */
export function alignCurves(curves: readonly Curve[]): {
  readonly x: number[];
  readonly ys: (number | null)[][];
} {
  const x = [...new Set(curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
  const at = new Map(x.map((value, i) => [value, i]));
  const ys = curves.map((curve) => {
    const y: (number | null)[] = Array.from({ length: x.length }, () => null);
    curve.x.forEach((value, i) => {
      y[at.get(value) ?? 0] = curve.y[i] ?? null;
    });
    return y;
  });
  return { x, ys };
}

/** Exponential moving average over about `span` points, corrected for its start: the first value is the first point. */
export function smooth(values: readonly number[], span: number): number[] {
  const keep = 1 - 2 / (span + 1);
  let sum = 0;
  let weight = 0;
  return values.map((value) => {
    if (Number.isFinite(value)) {
      sum = keep * sum + (1 - keep) * value;
      weight = keep * weight + (1 - keep);
    }
    return weight === 0 ? Number.NaN : sum / weight;
  });
}

/** The next larger of 1, 2, 2.5, 5 × a power of ten: an axis that grows in steps does not move at every point. */
export function niceCeil(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= value * (1 - 1e-9)) ?? 10) * power;
}

/** Bounds around `[low, high]` on multiples of a nice step, so that they change seldom. */
export function niceRange(low: number, high: number): [number, number] {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  const span = high - low || Math.abs(high) * 0.2 || 1;
  const step = niceCeil(span / 8);
  const from = Math.floor((low - span * 0.03) / step) * step;
  const to = Math.ceil((high + span * 0.03) / step) * step;
  return [low >= 0 ? Math.max(0, from) : from, to];
}

/** Decimals beyond these are noise of the floating point. */
const MOST_DECIMALS = 6;

/** Short texts for the ticks of an axis, all with as many decimals as one of them needs; on a logarithmic axis each for itself. */
export function axisLabels(ticks: readonly (number | null)[], log: boolean): string[] {
  const needs = ticks.map((tick) => (tick === null || !isPlain(tick) ? 0 : decimalsOf(tick)));
  const shared = Math.max(0, ...needs);
  return ticks.map((tick, i) => {
    if (tick === null) return '';
    if (tick === 0) return '0';
    return isPlain(tick) ? tick.toFixed(log ? needs[i] : shared) : tick.toExponential(1).replace('.0e', 'e');
  });
}

/** Written without a power of ten. */
function isPlain(value: number): boolean {
  const size = Math.abs(value);
  return value === 0 || (size >= 1e-3 && size < 1e6);
}

function decimalsOf(value: number): number {
  return Number(value.toFixed(MOST_DECIMALS)).toString().split('.')[1]?.length ?? 0;
}
