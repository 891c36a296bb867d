/** The `exports` part of the host API: trained models of ended runs, written for use elsewhere. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import type { HostHandlers } from '#core/contract/host-api.ts';
import type { ExportProgress, ExportRequest, ExportResult } from '#core/contract/run-export.ts';
import type { FileService } from './file-service.ts';
import type { HostContext } from './host-context.ts';
import type { RunJobs } from './run-jobs.ts';
import type { RunService } from './run-service.ts';

type ExportHandlers = Pick<HostHandlers, Extract<keyof HostHandlers, `exports.${string}`>>;

/** Serves the exports of the runs of `runs`. */
export function createExportHandlers(
  { ports }: HostContext,
  files: FileService,
  runs: RunService,
  jobs: RunJobs,
): ExportHandlers {
  const exporting = jobs.kind<Pick<ExportRequest, 'format' | 'out'>, ExportProgress>('exports.changed');
  /** The newest of each run; forgotten with this process. */
  const results = new Map<string, ExportResult>();
  return {
    'exports.get': ({ id }) => {
      runs.rowOf(id);
      const done = results.get(id);
      return { ...exporting.stateOf(id), ...(done && { done }) };
    },
    'exports.refused': ({ id }) => ports.exports.refused(runs.rowOf(id).dir),
    'exports.start': async ({ id, format, dtype, folder, name }) => {
      const parent = await files.pathOf(folder);
      if (!(await stat(parent)).isDirectory())
        throw new UserError('file/no-folder', `${parent} is not a folder`, 'Choose a folder.');
      const out = path.join(parent, name);
      exporting.start(id, { format, out }, 'is being exported', async (runDir, onProgress, signal) => {
        results.delete(id);
        const request = { runDir, format, dtype, out, version: ports.version };
        results.set(id, await ports.exports.write(request, onProgress, signal));
      });
      return null;
    },
    'exports.stop': async ({ id }) => {
      await exporting.stop(id);
      return null;
    },
  };
}
