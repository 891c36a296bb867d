/** Numbers as a person reads them: four significant digits, one locale everywhere. */
import type { Estimate } from '#core/contract/run.ts';

/** Formats made once: making one costs more than using it a thousand times. */
const formats = new Map<number, Intl.NumberFormat>();

function formatOf(digits: number): Intl.NumberFormat {
  let format = formats.get(digits);
  if (!format)
    formats.set(digits, (format = new Intl.NumberFormat('en', { maximumSignificantDigits: digits })));
  return format;
}

/** `value` with at most `digits` significant digits, thousands separated; very small or large ones as powers of ten. */
export function significant(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return value > 0 ? '∞' : value < 0 ? '−∞' : 'not a number';
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-4 || size >= 1e15)) {
    return value
      .toExponential(digits - 1)
      .replace(/\.?0+e/, 'e')
      .replaceAll('-', '−');
  }
  return formatOf(digits).format(value).replace('-', '−');
}

/** A whole number with thousands separated. */
export function count(value: number): string {
  return formatOf(21).format(Math.round(value));
}

/** Large counts in words of the trade: 1.42 M, 6.9 B. */
export function short(value: number): string {
  for (const [unit, size] of [
    ['B', 1e9],
    ['M', 1e6],
  ] as const) {
    if (value >= size) return `${significant(value / size, 3)} ${unit}`;
  }
  return count(value);
}

/** A share of one as whole percent, with one digit below ten. */
export function percent(share: number): string {
  return `${significant(share * 100, Math.abs(share) < 0.1 ? 2 : 3).replace(/(\d{2,})\.\d+/, '$1')} %`;
}

/** Seconds as hours, minutes and seconds, the two largest of them. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${significant(seconds, 2)} s`;
  const whole = Math.round(seconds);
  const [h, min, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  if (h > 0) return `${count(h)} h ${min} min`;
  if (min > 0) return s > 0 ? `${min} min ${s} s` : `${min} min`;
  return `${s} s`;
}

/** "a, b and c". */
export function listed(items: readonly (string | number)[]): string {
  if (items.length < 2) return items.join('');
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1) ?? ''}`;
}

/** "1 step", "2 steps". */
export function plural(n: number, noun: string): string {
  return `${count(n)} ${noun}${n === 1 ? '' : 's'}`;
}

/** `mean ± half`; an interval of no width says nothing. */
export function withInterval({ mean, half }: Estimate, format: (value: number) => string): string {
  return half === undefined || half === 0 ? format(mean) : `${format(mean)} ± ${format(half)}`;
}
