/** The `exports` part of the host API: trained models of ended runs, written for use elsewhere. */
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import type { HostHandlers } from '#core/contract/host-api.ts';
import type { ExportProgress, ExportRequest } from '#core/contract/run-export.ts';
import { readExports, writeExport } from '#core/store/index.ts';
import type { FileService } from './file-service.ts';
import type { HostContext } from './host-context.ts';
import type { RunJobs } from './run-jobs.ts';

type ExportHandlers = Pick<HostHandlers, Extract<keyof HostHandlers, `exports.${string}`>>;

/** Serves the exports of runs. */
export function createExportHandlers(
  { ports, rowOf }: HostContext,
  files: FileService,
  jobs: RunJobs,
): ExportHandlers {
  const exporting = jobs.kind<Pick<ExportRequest, 'format' | 'out'>, ExportProgress>('exports.changed');
  return {
    'exports.get': ({ id }) => {
      const done = readExports(rowOf(id).dir).toReversed();
      return {
        ...exporting.stateOf(id),
        done: done.map((written) => ({ ...written, isThere: existsSync(written.out) })),
      };
    },
    'exports.refused': ({ id }) => ports.exports.refused(rowOf(id).dir),
    'exports.start': async ({ id, format, dtype, folder, name }) => {
      const parent = await files.pathOf(folder);
      if (!(await stat(parent)).isDirectory())
        throw new UserError('file/no-folder', `${parent} is not a folder`, 'Choose a folder.');
      const out = path.join(parent, name);
      exporting.start(id, { format, out }, 'is being exported', async (runDir, onProgress, signal) => {
        const request = { runDir, format, dtype, out };
        const written = await ports.exports.write(request, onProgress, signal);
        writeExport(runDir, { ...written, createdMs: ports.now() });
      });
      return null;
    },
    'exports.stop': async ({ id }) => {
      await exporting.stop(id);
      return null;
    },
  };
}
