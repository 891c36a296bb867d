/** Numbers as text: four significant digits, thousands separated, units next to them. Absent is "not measured". */

/** Shown where a quantity was not measured. */
export const NOT_MEASURED = 'not measured';

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** Four significant digits with trailing zeros kept, so that columns of like numbers align: 1.310, 212.0, 6.1e-6. */
export function formatNumber(value: number | undefined | null, digits = 4): string {
  if (value === undefined || value === null) return NOT_MEASURED;
  if (Number.isNaN(value)) return 'not a number';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  if (value === 0) return '0';
  const size = Math.abs(value);
  const sign = value < 0 ? '−' : '';
  if (size >= 1000) return sign + (size < 1e9 ? grouped.format(size) : size.toExponential(digits - 1));
  if (size < 1e-3) {
    // A round number, as in settings, is written as people write it: 1e-5.
    const short = size.toExponential(1);
    return sign + (Number(short) === size ? short.replace('.0e', 'e') : size.toExponential(digits - 1));
  }
  return sign + size.toPrecision(digits);
}

/** A whole number with thousands separated: 1,284. */
export function formatCount(value: number | undefined | null): string {
  return value === undefined || value === null ? NOT_MEASURED : grouped.format(value);
}

function scaled(value: number, units: readonly string[], step: number): string {
  let power = 0;
  let size = value;
  while (size >= step && power < units.length - 1) {
    size /= step;
    power += 1;
  }
  const digits = power === 0 || size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return `${size.toFixed(digits)} ${units[power]}`;
}

/** A large count in words of three digits: 1.42 M, 6.92 B. */
export function formatLarge(value: number | undefined | null): string {
  if (value === undefined || value === null) return NOT_MEASURED;
  return scaled(value, ['', 'k', 'M', 'B', 'T'], 1000).trim();
}

/** Bytes in decimal units: 13.8 GB. */
export function formatBytes(bytes: number | undefined | null): string {
  return bytes === undefined || bytes === null
    ? NOT_MEASURED
    : scaled(bytes, ['B', 'kB', 'MB', 'GB', 'TB'], 1000);
}

/** Megabytes of 10^6 bytes, in the unit that fits. */
export function formatMB(megabytes: number | undefined | null): string {
  return megabytes === undefined || megabytes === null ? NOT_MEASURED : formatBytes(megabytes * 1e6);
}

/** Seconds as the two largest units: 1 h 52 min, 48 s. */
export function formatDuration(seconds: number | undefined | null): string {
  if (seconds === undefined || seconds === null) return NOT_MEASURED;
  if (seconds < 1) return 'under 1 s';
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) {
    const rest = Math.round(seconds % 60);
    return seconds < 600 && rest > 0 && rest < 60
      ? `${Math.floor(seconds / 60)} min ${rest} s`
      : `${minutes} min`;
  }
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
}

/** A range with one unit where both ends share it: 48–56 min. */
export function formatRange(low: number, high: number, format: (value: number) => string): string {
  const [from, to] = [format(low), format(high)];
  if (from === to) return from;
  const [head, unit, ...rest] = from.split(' ');
  const [, otherUnit, ...otherRest] = to.split(' ');
  return rest.length === 0 && otherRest.length === 0 && unit === otherUnit && unit !== undefined
    ? `${head}–${to}`
    : `${from} – ${to}`;
}

/** A share as a percentage: 54.2 %. */
export function formatShare(share: number | undefined): string {
  return share === undefined ? NOT_MEASURED : `${(share * 100).toPrecision(3)} %`;
}

/** A moment as local date and time without seconds. */
function formatTime(ms: number): string {
  return new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' }).format(ms);
}

/** How long ago a moment was: 3 min ago. */
export function formatAgo(ms: number, nowMs: number): string {
  const seconds = Math.max(0, (nowMs - ms) / 1000);
  if (seconds < 60) return 'just now';
  if (seconds > 7 * 86_400) return formatTime(ms);
  const text = formatDuration(seconds).split(' ').slice(0, 2).join(' ');
  return `${text} ago`;
}

/** "a model, training data and a method". */
export function listed(parts: readonly string[]): string {
  return parts.length < 2 ? (parts[0] ?? '') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`;
}

/** Count and noun: 1 row, 12 rows. */
export function plural(count: number, noun: string, many = `${noun}s`): string {
  return `${formatCount(count)} ${count === 1 ? noun : many}`;
}
