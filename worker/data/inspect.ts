/** Looks a data set over without training on it: what the data screen and the `data` command show. */
import { setImmediate } from 'node:timers/promises';
import type { DatasetEntry, DatasetInspection, PreviewRow } from '#core/contract/dataset.ts';
import { UserError } from '#core/contract/errors.ts';
import { openDataFile, requireMapping, scanExamples } from './examples.ts';
import type { DataFileSpec } from './examples.ts';
import { FindingList, findDuplicates, findLeakage } from './findings.ts';
import { toConversation } from './mapping.ts';
import { tokenizeExample } from './processor.ts';
import type { ProcessOptions } from './processor.ts';

/** What is known of a file without a tokenizer. */
export type FileDescription = Omit<DatasetEntry, 'id' | 'name' | 'addedMs'> & {
  /** How the record format was recognised, in words. */
  readonly why: string;
  /** Rows that can't be read, first ones first. */
  readonly badRows: readonly { readonly row: number; readonly message: string }[];
};

/** Bad rows described by {@link describeFile}; the rest are only counted out of `rows`. */
const DESCRIBED_BAD_ROWS = 20;

/**
 * Recognises a file and counts its rows.
 * @throws UserError when it is no data file at all.
 */
export async function describeFile(spec: DataFileSpec): Promise<FileDescription> {
  const bad = new Map<number, string>();
  const file = await openDataFile(spec, (row, error) => {
    if (bad.size < DESCRIBED_BAD_ROWS) bad.set(row, error.message);
  });
  try {
    let rows = 0;
    const reader = file.source.rows();
    while ((await reader.next()).done !== true) rows += 1;
    return {
      path: spec.path,
      bytes: file.source.bytes,
      rows,
      fileFormat: file.source.format,
      columns: [...file.source.columns],
      recordFormat: file.recordFormat,
      mapping: { ...file.mapping },
      sha256: await file.source.sha256(),
      why: file.why,
      badRows: [...bad].map(([row, message]) => ({ row, message })),
    };
  } finally {
    await file.source.close();
  }
}

/** How data are looked at before a run. */
export interface InspectOptions extends ProcessOptions {
  /** Held-out files, to be searched for training rows. */
  readonly validation?: readonly DataFileSpec[];
  /** Called now and then with the rows read so far. */
  readonly onProgress?: (rows: number) => void;
  readonly signal?: AbortSignal;
}

interface Totals {
  rows: number;
  tokens: number;
  trainedTokens: number;
  truncatedRows: number;
  longest: number;
  /** Index i counts rows of up to 2^(i+4) tokens. */
  readonly bins: number[];
}

const FIRST_BIN_BITS = 4;
/** Milliseconds after which the rest of the program has its turn: an inspection can take minutes. */
const TURN_MS = 20;

function count(totals: Totals, length: number, kept: number, trained: number): void {
  totals.rows += 1;
  totals.tokens += kept;
  totals.trainedTokens += trained;
  if (kept < length) totals.truncatedRows += 1;
  totals.longest = Math.max(totals.longest, length);
  const bin = Math.max(0, Math.ceil(Math.log2(Math.max(length, 1))) - FIRST_BIN_BITS);
  while (totals.bins.length <= bin) totals.bins.push(0);
  totals.bins[bin] = (totals.bins[bin] ?? 0) + 1;
}

/**
 * Tokenizes files and reports lengths, trained tokens and findings. Rows that can't be used become findings.
 * The histogram counts whole rows, before they are cut; its bins end at powers of two.
 */
export async function inspectDataset(
  files: readonly DataFileSpec[],
  options: InspectOptions,
): Promise<DatasetInspection> {
  const totals: Totals = { rows: 0, tokens: 0, trainedTokens: 0, truncatedRows: 0, longest: 0, bins: [] };
  const findings: DatasetInspection['findings'] = [];
  const trainHashes: Float64Array[] = [];
  let turnStart = performance.now();
  const sides = [
    ...files.map((spec) => ({ spec, held: false })),
    ...(options.validation ?? []).map((spec) => ({ spec, held: true })),
  ];
  for (const { spec, held } of sides) {
    const list = new FindingList();
    const file = await openDataFile(spec, (row, error) =>
      list.add('error', error.code, error.message, row, error.hint),
    );
    const hashes: number[] = [];
    const rows: number[] = [];
    try {
      for await (const { row, contentHash, example } of scanExamples(file, {
        ...options,
        findings: list,
        strict: false,
      })) {
        options.signal?.throwIfAborted();
        if (performance.now() - turnStart > TURN_MS) {
          await setImmediate();
          turnStart = performance.now();
        }
        hashes.push(contentHash);
        rows.push(row);
        if (held) continue;
        count(totals, example.fullLength, example.ids.length, example.trainedCount);
        if (totals.rows % 256 === 0) options.onProgress?.(totals.rows);
      }
    } finally {
      await file.source.close();
    }
    const seen = { hashes: Float64Array.from(hashes), rows: Uint32Array.from(rows) };
    if (held) findLeakage(trainHashes, seen, list);
    else {
      trainHashes.push(seen.hashes);
      findDuplicates(seen.hashes, seen.rows, list);
    }
    for (const finding of list.list()) {
      const name = sides.length > 1 && !finding.message.startsWith(file.name) ? `${file.name}: ` : '';
      findings.push({ ...finding, message: name + finding.message });
    }
  }
  const { bins, ...sums } = totals;
  const histogram = bins.map((rows, index) => ({ upTo: 2 ** (index + FIRST_BIN_BITS), rows }));
  return { ...sums, histogram, findings };
}

/** Rows as the model reads them; rows that can't be used are named instead. */
export interface Preview {
  readonly rows: readonly PreviewRow[];
  readonly refused: readonly { readonly row: number; readonly error: UserError }[];
}

/**
 * Shows `count` rows from row number `from` on, token by token, reading the file once.
 * @param from 1-based, as in findings.
 * @throws UserError when the file can't be read; both lists are empty beyond its last row.
 */
export async function previewRows(
  spec: DataFileSpec,
  from: number,
  count: number,
  options: ProcessOptions,
): Promise<Preview> {
  const rows: PreviewRow[] = [];
  const refused: { row: number; error: UserError }[] = [];
  const wanted = (row: number) => row >= from && row < from + count;
  const file = await openDataFile(spec, (row, error) => {
    if (wanted(row)) refused.push({ row, error });
  });
  try {
    requireMapping(file);
    for await (const sourceRow of file.source.rows()) {
      const { row } = sourceRow;
      if (row >= from + count) break;
      if (!wanted(row)) continue;
      try {
        const tokenized = tokenizeExample(toConversation(sourceRow, file.mapping), options);
        rows.push({ row, tokens: previewTokens(tokenized, options) });
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        refused.push({ row, error });
      }
    }
    return { rows, refused };
  } finally {
    await file.source.close();
  }
}

/**
 * One row as the model reads it, token by token.
 * @param row 1-based, as in findings.
 * @throws UserError `data/no-such-row`, or what is wrong with the row.
 */
export async function previewRow(
  spec: DataFileSpec,
  row: number,
  options: ProcessOptions,
): Promise<PreviewRow> {
  const { rows, refused } = await previewRows(spec, row, 1, options);
  if (refused[0] !== undefined) throw refused[0].error;
  if (rows[0] !== undefined) return rows[0];
  throw new UserError('data/no-such-row', `${spec.path} has no row ${row}`, 'Rows are numbered from 1.');
}

function previewTokens(
  { text, ids, offsets, trained }: ReturnType<typeof tokenizeExample>,
  { tokenizer, maxLength }: ProcessOptions,
): PreviewRow['tokens'] {
  let shown = 0;
  return ids.map((id, index) => {
    const end = offsets[2 * index + 1] ?? 0;
    // Several tokens may share a character: the first shows it. What no token spells goes with the next one.
    const added = end === 0 && (offsets[2 * index] ?? 0) === 0;
    const part = added ? tokenizer.decode([id]) : text.slice(shown, end);
    shown = Math.max(shown, end);
    return {
      text: part,
      id,
      trained: trained[index] === 1 && index < maxLength,
      truncated: index >= maxLength,
      special: tokenizer.isSpecial(id),
    };
  });
}
