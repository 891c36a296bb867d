/** Numbers as a person reads them: four significant digits, one locale everywhere. */

/** `value` with at most `digits` significant digits, thousands separated; very small or large ones as powers of ten. */
export function significant(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return value > 0 ? '∞' : value < 0 ? '−∞' : 'not a number';
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-4 || size >= 1e15)) return value.toExponential(digits - 1).replace('-', '−');
  return value.toLocaleString('en', { maximumSignificantDigits: digits }).replace('-', '−');
}

/** A whole number with thousands separated. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en');
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
  return min > 0 ? `${min} min ${s} s` : `${s} s`;
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
