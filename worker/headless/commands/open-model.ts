/** Models by what a person types. */
import path from 'node:path';
import { openModel, type ModelSource, type OpenedModel } from '#worker/train/index.ts';
import { findRun, isRunFolder } from './find-run.ts';

/** Where the checkpoint folder, run directory or run id `name` lies. @throws UserError `run/not-found`. */
export function sourceNamed(name: string, home: string | undefined): ModelSource {
  return isRunFolder(name) || name.startsWith('run_')
    ? { runDir: findRun(name, home) }
    : { modelDir: path.resolve(name) };
}

/** Opens the model called `name`. @throws UserError for everything wrong with it. */
export function openNamed(name: string, home: string | undefined): Promise<OpenedModel> {
  return openModel(sourceNamed(name, home));
}
