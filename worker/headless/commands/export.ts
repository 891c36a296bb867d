/** `export RUN`: the trained model for use elsewhere. */
import path from 'node:path';
import { toErrorInfo } from '#core/contract/errors.ts';
import { ExportDtype, ExportFormat, USUAL_DTYPES, type ExportResult } from '#core/contract/run-export.ts';
import { writeExport as listExport } from '#core/store/index.ts';
import { exportRun as writeExport } from '#worker/export/index.ts';
import type { Command } from './command.ts';
import { findRun } from './find-run.ts';
import { count, megabytes } from './terminal.ts';

/** Writes the export, reads it back, and lists it beside the run. */
export const exportRun: Command = async (invocation) => {
  const format = invocation.choice('format', ExportFormat.options) ?? 'hf';
  const out = path.resolve(invocation.requiredText('out'));
  const dtype = invocation.choice('dtype', ExportDtype.options) ?? USUAL_DTYPES[format];
  const runDir = findRun(invocation.args[0] ?? '', invocation.home);
  const result = await writeExport({ runDir, format, dtype, out }, (progress) =>
    invocation.terminal.progress(
      `${megabytes(progress.written / 1e6)} of ${megabytes(progress.of / 1e6)} written`,
    ),
  );
  const { logits, ...written } = { ...result, notes: [...result.notes, ...listedBeside(runDir, result)] };
  const { files, step, verified, notes } = written;
  return {
    document: { ...written, ...logits },
    text: [
      `${out}: step ${count(step)} as ${format}, ${files.length} files, ` +
        `${megabytes(files.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6)}, ${verified}`,
      ...notes.map((note) => `Note: ${note}`),
    ].join('\n'),
  };
};

/** Adds the export to those that the page of the run lists; a run on a disk that is only read is exported all the same. */
function listedBeside(runDir: string, result: ExportResult): string[] {
  try {
    listExport(runDir, { ...result, createdMs: Date.now() });
    return [];
  } catch (error) {
    return [`The page of the run will not list this export: ${toErrorInfo(error).message}`];
  }
}
