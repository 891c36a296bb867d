/** `data FILE…`: what data files hold, and what a model reads of them. */
import path from 'node:path';
import type { DatasetInspection, PreviewRow } from '#core/contract/dataset.ts';
import { UserError } from '#core/contract/errors.ts';
import {
  describeFile,
  inspectDataset,
  openTokenizer,
  previewRow,
  type DataFileSpec,
  type FileDescription,
  type InspectOptions,
} from '#worker/data/index.ts';
import { EXIT, type Command, type Invocation } from './command.ts';
import { readMapping } from './read-samples.ts';
import { count, megabytes, table } from './terminal.ts';

/** Describes files; fails when rows cannot be used. */
export const data: Command = async (invocation) => {
  const mapping = readMapping(invocation.texts('mapping'));
  const files = invocation.args.map((file): DataFileSpec => ({
    path: path.resolve(file),
    ...(mapping && { mapping }),
  }));
  const view = await readView(invocation);
  const row = invocation.integer('show');
  if (row !== undefined) return showRow(files, row, view);

  const described: FileDescription[] = [];
  for (const file of files) described.push(await describeFile(file));
  const inspection =
    view &&
    (await inspectDataset(files, {
      ...view,
      onProgress: (rows) => invocation.terminal.progress(`${count(rows)} rows read`),
    }));
  const failed =
    described.some(({ badRows }) => badRows.length > 0) ||
    inspection?.findings.some(({ severity }) => severity === 'error') === true;
  return {
    exitCode: failed ? EXIT.failed : EXIT.done,
    document: { files: described, ...(inspection && { inspection }) },
    text: [...described.map(describe), ...(inspection ? [summarize(inspection)] : [])].join('\n\n'),
  };
};

async function readView(invocation: Invocation): Promise<InspectOptions | undefined> {
  const model = invocation.text('model');
  const maxLength = invocation.integer('max-length') ?? 512;
  const lossOn = invocation.choice('loss-on', ['completion', 'all']) ?? 'completion';
  const template = invocation.choice('template', ['auto', 'none']) ?? 'auto';
  return model === undefined
    ? undefined
    : { tokenizer: await openTokenizer(path.resolve(model)), template, maxLength, lossOn };
}

async function showRow(files: readonly DataFileSpec[], row: number, view: InspectOptions | undefined) {
  const [file, ...others] = files;
  if (file === undefined || others.length > 0) {
    throw new UserError('cli/arguments', '--show takes one file', 'Give the file that has the row.');
  }
  if (view === undefined) {
    throw new UserError(
      'cli/missing-option',
      '--show needs --model',
      'Tokens come from a checkpoint’s tokenizer.',
    );
  }
  const shown = await previewRow(file, row, view);
  return { document: shown, text: marked(shown) };
}

/** Trained tokens in brackets, truncated ones in braces, line breaks visible. */
function marked({ row, tokens }: PreviewRow): string {
  const trained = tokens.filter((token) => token.trained).length;
  const text = tokens
    .map((token) => {
      const shown = token.text.replaceAll('\n', '⏎\n');
      if (token.truncated) return `{${shown}}`;
      return token.trained ? `[${shown}]` : shown;
    })
    .join('');
  return `row ${row}: ${count(tokens.length)} tokens, ${count(trained)} trained; [trained] {truncated}\n${text}`;
}

function describe(file: FileDescription): string {
  return [
    table([
      ['file', file.path],
      ['format', `${file.fileFormat}, ${file.recordFormat} (${file.why})`],
      ['rows', `${count(file.rows)}, ${megabytes(file.bytes / 1e6)}`],
      ['columns', file.columns.join(', ')],
      [
        'mapping',
        Object.entries(file.mapping)
          .map(([field, column]) => `${field} = ${column}`)
          .join(', '),
      ],
      ['sha256', file.sha256],
    ]),
    ...file.badRows.map(({ message }) => message),
  ].join('\n');
}

function summarize(inspection: DatasetInspection): string {
  const { rows, tokens, trainedTokens, truncatedRows, longest, histogram, findings } = inspection;
  const most = histogram.reduce((largest, bin) => Math.max(largest, bin.rows), 1);
  const bars = histogram
    .filter((bin) => bin.rows > 0)
    .map((bin) => [`≤ ${count(bin.upTo)}`, count(bin.rows), '█'.repeat(Math.ceil((30 * bin.rows) / most))]);
  return [
    `${count(rows)} ${rows === 1 ? 'row' : 'rows'}, ${count(tokens)} tokens of which ${count(trainedTokens)} are trained; ` +
      `longest row ${count(longest)} tokens, ${count(truncatedRows)} rows cut`,
    ...(bars.length > 0 ? [table([['tokens', 'rows', ''], ...bars], new Set([0, 1]))] : []),
    ...findings.map(({ severity, message, hint, rows: at, count: times }) => {
      const where =
        at.length === 0 ? '' : ` (rows ${at.join(', ')}${times > at.length ? ', …' : ''}; ${times} in all)`;
      return `${severity}: ${message}${where}${hint === undefined ? '' : `\n  ${hint}`}`;
    }),
  ].join('\n');
}
