/** The questions asked in dialogs of the system. */
import { type BrowserWindow, dialog, type OpenDialogOptions } from 'electron';

const CHOICES: Readonly<Record<'folder' | 'data' | 'run-spec', OpenDialogOptions>> = {
  folder: { title: 'Choose a folder', properties: ['openDirectory'] },
  data: {
    title: 'Choose a data set',
    properties: ['openFile'],
    filters: [{ name: 'Data', extensions: ['jsonl', 'json', 'csv', 'tsv', 'parquet'] }],
  },
  'run-spec': {
    title: 'Choose a run specification',
    properties: ['openFile'],
    filters: [{ name: 'RUN.json', extensions: ['json'] }],
  },
};

/** Lets the user choose a path; null when they did not. */
export async function choosePath(
  window: BrowserWindow,
  kind: 'folder' | 'data' | 'run-spec',
): Promise<string | null> {
  const { canceled, filePaths } = await dialog.showOpenDialog(window, CHOICES[kind]);
  return canceled ? null : (filePaths[0] ?? null);
}

/** Asks before ending `running` runs; true when the user agrees. */
export async function confirmQuit(running: number): Promise<boolean> {
  const { response } = await dialog.showMessageBox({
    type: 'question',
    message: running === 1 ? 'A run is training.' : `${running} runs are training or waiting.`,
    detail: 'Quitting saves a checkpoint; the run can be resumed later.',
    buttons: ['Keep training', 'Save and quit'],
    defaultId: 0,
    cancelId: 0,
  });
  return response === 1;
}

/** Says why the application cannot start. */
export function reportFatal(error: unknown): void {
  dialog.showErrorBox('Condenser cannot start', error instanceof Error ? error.message : String(error));
}
