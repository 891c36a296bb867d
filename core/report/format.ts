/** Numbers as a person reads them: four significant digits, one locale everywhere. */
import type { Estimate } from '#core/contract/run.ts';

/** Formats made once: making one costs more than using it a thousand times. */
const formats = new Map<string, Intl.NumberFormat>();

function formatOf(digits: number, least = 1): Intl.NumberFormat {
  const key = `${least}–${digits}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat('en', {
      minimumSignificantDigits: least,
      maximumSignificantDigits: digits,
    });
    formats.set(key, format);
  }
  return format;
}

/** What may lie between a round number and one that was computed from it, such as a share as a percentage. */
const ROUND_OFF = 1e-9;

/**
 * `value` with `digits` significant digits, thousands separated; very small or large ones as powers of ten. A round
 * number, as in settings, is written as people write it (0.5); what was rounded keeps its zeros (0.2998 is 0.30).
 */
export function significant(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return value > 0 ? '∞' : value < 0 ? '−∞' : 'not a number';
  const size = Math.abs(value);
  const isRound = Math.abs(Number(value.toPrecision(digits)) - value) <= ROUND_OFF * size;
  if (value !== 0 && (size < 1e-4 || size >= 1e15)) {
    const text = value.toExponential(digits - 1);
    return (isRound ? text.replace(/\.?0+e/, 'e') : text).replaceAll('-', '−');
  }
  return formatOf(digits, isRound ? 1 : digits)
    .format(value)
    .replace('-', '−');
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
