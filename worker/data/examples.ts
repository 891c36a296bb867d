/** Reads a data file as tokenized examples, noting what is odd about its rows. */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import type { FindingList } from './findings.ts';
import { checkMapping, detectFormat, toConversation } from './mapping.ts';
import type { Conversation, Mapping, PlainText, RecordFormat } from './mapping.ts';
import { toExample, tokenizeExample } from './processor.ts';
import type { Example, ProcessOptions, TokenizedText } from './processor.ts';
import { openSource } from './sources/source.ts';
import type { Source } from './sources/source.ts';
import type { OnBadRow, SourceRow } from './sources/source-row.ts';

/** A file and, unless it is to be recognised, how its columns are meant. */
export interface DataFileSpec {
  readonly path: string;
  readonly mapping?: Mapping | undefined;
}

/** A data file whose columns are understood. */
export interface DataFile {
  readonly source: Source;
  /** File name, for messages. */
  readonly name: string;
  readonly recordFormat: RecordFormat;
  readonly mapping: Mapping;
  /** How the format was recognised, in words. */
  readonly why: string;
}

const SAMPLE_ROWS = 50;

async function firstRows(source: Source, onBadRow: OnBadRow | undefined): Promise<SourceRow[]> {
  const rows: SourceRow[] = [];
  let damaged: UserError | undefined;
  const passOver = onBadRow && ((_row: number, error: UserError) => void (damaged ??= error));
  for await (const row of source.rows(passOver)) {
    rows.push(row);
    if (rows.length === SAMPLE_ROWS) break;
  }
  // Where every row is damaged, the first one says what is wrong.
  if (rows.length === 0 && damaged !== undefined) throw damaged;
  return rows;
}

/**
 * Opens a data file and settles its mapping; `recordFormat` is `unknown`, with an empty mapping, when it can't be recognised.
 * @throws UserError when the file can't be read or a mapping by hand doesn't fit.
 */
export async function openDataFile(spec: DataFileSpec, onBadRow?: OnBadRow): Promise<DataFile> {
  const source = await openSource(spec.path, onBadRow === undefined ? {} : { onBadRow });
  try {
    const name = path.basename(spec.path);
    const sample = await firstRows(source, onBadRow);
    if (sample.length === 0) {
      throw new UserError('data/empty-file', `${name} has no rows`, 'Export the data again.');
    }
    const detected = detectFormat(sample);
    if (spec.mapping === undefined || Object.keys(spec.mapping).length === 0) {
      return { source, name, recordFormat: detected.format, mapping: detected.mapping, why: detected.why };
    }
    // A mapping of roles only says how to read what was recognised.
    const rolesOnly = Object.keys(spec.mapping).every((key) => key.startsWith('role.'));
    const columns = [...new Set([...source.columns, ...sample.flatMap(({ value }) => Object.keys(value))])];
    const given = rolesOnly ? { ...detected.mapping, ...spec.mapping } : spec.mapping;
    const mapping = checkMapping(given, columns, name);
    return { source, name, recordFormat: mappedFormat(mapping, detected), mapping, why: 'mapped by hand' };
  } catch (error) {
    await source.close();
    throw error;
  }
}

function mappedFormat(mapping: Mapping, detected: { readonly format: RecordFormat }): RecordFormat {
  if (mapping['messages'] !== undefined) return detected.format === 'sharegpt' ? 'sharegpt' : 'messages';
  return mapping['text'] === undefined ? 'prompt-response' : 'text';
}

/** @throws UserError `data/unknown-format` for a file that needs a mapping by hand. */
export function requireMapping(file: DataFile): void {
  if (file.recordFormat !== 'unknown') return;
  const [prompt = 'question', response = 'answer'] = file.source.columns;
  throw new UserError(
    'data/unknown-format',
    `${file.name}: the columns were not recognised: ${file.source.columns.join(', ')}`,
    `Say which is which: on the page of the data set, with --mapping prompt=${prompt} --mapping response=${response}, ` +
      `or in RUN.json with "mapping": {"prompt": ${JSON.stringify(prompt)}, "response": ${JSON.stringify(response)}}.`,
  );
}

/** The first 53 bits of the SHA-256 of an example's content: the same text always gets the same number. */
function contentHash(item: Conversation | PlainText): number {
  const parts =
    item.kind === 'text' ? [item.text] : item.messages.map(({ role, content }) => [role, content]);
  const digest = createHash('sha256').update(JSON.stringify(parts)).digest();
  return digest.readUInt32BE(0) * 2 ** 21 + (digest.readUInt32BE(4) >>> 11);
}

/** Rows with these faults hold nothing to learn: they are left out and reported, everything else stops. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  'data/empty-answer',
  'data/empty-prompt',
  'data/empty-text',
  'data/no-answer',
]);

/** An example with the row it comes from. */
export interface ScannedExample {
  readonly row: number;
  readonly contentHash: number;
  readonly tokenized: TokenizedText;
  readonly example: Example;
}

/** How a file is scanned, and what faulty rows do. */
export interface ScanOptions extends ProcessOptions {
  readonly findings: FindingList;
  /** false: faulty rows become findings. true: the first one is thrown, unless it only lacks something to learn. */
  readonly strict: boolean;
}

/** Puts the file name before a message about a row. */
export function inFile(name: string, error: UserError): UserError {
  const message = error.message.startsWith(name) ? error.message : `${name}: ${error.message}`;
  return new UserError(error.code, message, error.hint, { cause: error });
}

/**
 * Tokenizes every row that holds something to learn; the others, and rows cut to `maxLength`, are added to the findings.
 * @throws UserError naming file and row.
 */
export async function* scanExamples(file: DataFile, options: ScanOptions): AsyncGenerator<ScannedExample> {
  requireMapping(file);
  const { findings, maxLength } = options;
  for await (const sourceRow of file.source.rows()) {
    const { row } = sourceRow;
    let item: Conversation | PlainText;
    let tokenized: TokenizedText;
    try {
      item = toConversation(sourceRow, file.mapping);
      tokenized = tokenizeExample(item, options);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      const leftOut = LEFT_OUT.has(error.code);
      const located = error.message.startsWith('row ')
        ? error
        : new UserError(error.code, `row ${row.toLocaleString('en-US')}: ${error.message}`, error.hint, {
            cause: error,
          });
      if (options.strict && !leftOut) throw inFile(file.name, located);
      findings.add(leftOut ? 'warning' : 'error', error.code, located.message, row, error.hint);
      continue;
    }
    noteSpecialTokens(item, options, row);
    if (tokenized.openAnswers > 0) {
      const message = 'no special token follows the answer, so the model does not learn where to stop';
      findings.add('warning', 'data/no-closing-token', message, row);
    }
    const example = toExample(tokenized, maxLength);
    if (example.truncated) {
      findings.add('info', 'data/truncated', `rows longer than ${maxLength} tokens lose their end`, row);
    }
    if (example.trainedCount === 0) {
      const why = example.truncated
        ? `rows have no trained token left after the cut to ${maxLength} tokens, and are left out`
        : 'rows have no trained token, and are left out';
      findings.add('warning', 'data/no-trained-token', why, row);
    }
    yield { row, contentHash: contentHash(item), tokenized, example };
  }
}

function noteSpecialTokens(
  item: Conversation | PlainText,
  { tokenizer, findings }: ScanOptions,
  row: number,
): void {
  const texts = item.kind === 'text' ? [item.text] : item.messages.map(({ content }) => content);
  const found = texts.flatMap((text) => tokenizer.specialTokensIn(text));
  if (found.length === 0) return;
  const message = `the text itself holds special tokens (${found.slice(0, 3).join(' ')}); the model reads them as such`;
  findings.add('warning', 'data/special-token-in-text', message, row);
}
