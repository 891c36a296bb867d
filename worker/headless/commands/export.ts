/** `export RUN`: the trained model for use elsewhere. */
import path from 'node:path';
import { ExportDtype, ExportFormat, USUAL_DTYPES } from '#core/contract/run-export.ts';
import { exportRun as writeExport } from '#worker/export/index.ts';
import type { Command } from './command.ts';
import { findRun } from './find-run.ts';
import { count, megabytes } from './terminal.ts';

/** Writes the export and reads it back. */
export const exportRun: Command = async (invocation) => {
  const format = invocation.choice('format', ExportFormat.options) ?? 'hf';
  const out = path.resolve(invocation.requiredText('out'));
  const dtype = invocation.choice('dtype', ExportDtype.options) ?? USUAL_DTYPES[format];
  const runDir = findRun(invocation.args[0] ?? '', invocation.home);
  const { logits, ...written } = await writeExport({ runDir, format, dtype, out }, (progress) =>
    invocation.terminal.progress(
      `${megabytes(progress.written / 1e6)} of ${megabytes(progress.of / 1e6)} written`,
    ),
  );
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
