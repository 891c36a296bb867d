/** Text for people: what goes to stdout and stderr, and how numbers look in it. */
import type { Terminal } from './command.ts';

/** The part of a stream that is used. */
export interface TextStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Between two progress lines where they are kept, in milliseconds. */
const PLAIN_INTERVAL_MS = 2000;

/** A terminal over two streams. `endProgress` is called before anything else is written at the end. */
export function createTerminal(
  json: boolean,
  stdout: TextStream,
  stderr: TextStream,
  now: () => number = Date.now,
): Terminal & { endProgress(): void } {
  let open = false;
  let lastPlain = -Infinity;
  const endProgress = (): void => {
    if (open) stderr.write('\n');
    open = false;
  };
  return {
    json,
    jsonLine: (document) => {
      if (json) stdout.write(`${JSON.stringify(document)}\n`);
    },
    textLine: (text) => {
      if (json) return;
      endProgress();
      stdout.write(`${text}\n`);
    },
    progress: (text) => {
      if (stderr.isTTY === true) {
        stderr.write(`\r\u001B[2K${text.slice(0, (stderr.columns ?? 80) - 1)}`);
        open = true;
      } else if (now() - lastPlain >= PLAIN_INTERVAL_MS) {
        lastPlain = now();
        stderr.write(`${text}\n`);
      }
    },
    note: (text) => {
      endProgress();
      stderr.write(`${text}\n`);
    },
    endProgress,
  };
}

/** Rows of cells in columns two spaces apart; the last column is not padded. Cells in `right` are aligned to the right. */
export function table(rows: readonly (readonly string[])[], right: ReadonlySet<number> = new Set()): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          if (right.has(column)) return cell.padStart(widths[column] ?? 0);
          return column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A number with at most four significant digits. */
export function number(value: number, digits = 4): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: digits });
}

/** A whole number, thousands separated. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** Megabytes (10^6 bytes) as kB, MB or GB. */
export function megabytes(value: number): string {
  if (value > 0 && value < 1) return `${number(1000 * value, 2)} kB`;
  return value < 1000 ? `${count(value)} MB` : `${(value / 1000).toFixed(1)} GB`;
}

/** A range of seconds in its larger unit: `20–30 s`, `3–4 min`, `up to 1 h`. */
export function secondsRange(low: number, high: number): string {
  const [size, unit] = high < 90 ? [1, 's'] : high < 5400 ? [60, 'min'] : [3600, 'h'];
  const [from, to] = [Math.floor(low / size), Math.max(1, Math.ceil(high / size))];
  if (from === 0) return `up to ${to} ${unit}`;
  return from === to ? `${to} ${unit}` : `${from}–${to} ${unit}`;
}
