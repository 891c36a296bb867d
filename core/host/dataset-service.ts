/** The `datasets` part of the host API. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { DatasetEntry, DatasetInspection } from '#core/contract/dataset.ts';
import { UserError } from '#core/contract/errors.ts';
import type { HostHandlers } from '#core/contract/host-api.ts';
import { newId } from '#core/store/index.ts';
import type { FileService } from './file-service.ts';
import type { HostContext } from './host-context.ts';
import type { ModelService } from './model-service.ts';
import type { DataView } from './ports.ts';

type DatasetHandlers = Pick<HostHandlers, Extract<keyof HostHandlers, `datasets.${string}`>>;

/** The service, and what other services need of it. */
export interface DatasetService {
  readonly handlers: DatasetHandlers;
  /** Adds the file `file`, or looks at it anew. */
  add(file: string): Promise<DatasetEntry>;
  /** @throws UserError `dataset/unknown`. */
  entryOf(id: string): DatasetEntry;
}

/** Serves the data sets in the list. */
export function createDatasetService(
  { db, notify, ports }: HostContext,
  files: FileService,
  models: ModelService,
): DatasetService {
  const entryOf = (id: string): DatasetEntry => {
    const entry = db.datasets.get(id);
    if (!entry) throw new UserError('dataset/unknown', `there is no data set ${id}`, 'Import it again.');
    return entry;
  };
  const save = (entry: DatasetEntry): DatasetEntry => {
    db.datasets.put(entry);
    notify('datasets.changed', { id: entry.id });
    return entry;
  };
  const viewOf = (input: Omit<DataView, 'modelPath'> & { readonly modelId: string }): DataView => ({
    modelPath: models.entryOf(input.modelId).path,
    maxLength: input.maxLength,
    lossOn: input.lossOn,
  });
  /** Inspections at work: who asks the same, as a page that was loaded again, waits for the same answer. */
  const inspecting = new Map<string, Promise<DatasetInspection>>();
  const inspect = (entry: DatasetEntry, view: DataView): Promise<DatasetInspection> => {
    const key = JSON.stringify([entry, view]);
    const known = inspecting.get(key);
    if (known !== undefined) return known;
    const inspection = ports.data
      .inspect(entry, view, (rows) => notify('datasets.inspecting', { id: entry.id, rows }))
      .finally(() => inspecting.delete(key));
    inspecting.set(key, inspection);
    return inspection;
  };
  const add = async (file: string): Promise<DatasetEntry> => {
    const found = await ports.data.open(file);
    const known = db.datasets.list().find((entry) => entry.path === file);
    return save({
      ...found,
      id: known?.id ?? newId('data'),
      name: path.basename(file),
      path: file,
      addedMs: known?.addedMs ?? ports.now(),
    });
  };

  /** Deletes a file that was refused, where it is the copy that a browser sent: nobody would ever find it. */
  const dropCopy = async (file: string): Promise<void> => {
    const folder = path.dirname(file);
    if (path.dirname(folder) !== path.join(path.resolve(ports.home), 'uploads')) return;
    if (db.datasets.list().some((entry) => entry.path === file)) return;
    await rm(folder, { recursive: true, force: true });
  };

  return {
    add,
    entryOf,
    handlers: {
      'datasets.list': () => db.datasets.list(),
      'datasets.import': async ({ handle }) => {
        const file = await files.pathOf(handle);
        try {
          return await add(file);
        } catch (error) {
          await dropCopy(file);
          throw error;
        }
      },
      'datasets.map': async ({ id, mapping }) => {
        const entry = entryOf(id);
        return save({ ...entry, ...(await ports.data.open(entry.path, mapping)) });
      },
      'datasets.inspect': (input) => inspect(entryOf(input.id), viewOf(input)),
      'datasets.preview': (input) =>
        ports.data.preview(entryOf(input.id), viewOf(input), input.fromRow, input.rows),
      'datasets.sample': ({ id, rows }) => ports.data.sample(entryOf(id), rows),
      'datasets.remove': ({ id }) => {
        entryOf(id);
        db.datasets.remove(id);
        notify('datasets.changed', { id });
        return null;
      },
    },
  };
}
