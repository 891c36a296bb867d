/** The `models` part of the host API. */
import { UserError } from '#core/contract/errors.ts';
import type { HostHandlers } from '#core/contract/host-api.ts';
import type { ModelEntry } from '#core/contract/model.ts';
import { newId } from '#core/store/index.ts';
import type { FileService } from './file-service.ts';
import type { HostContext } from './host-context.ts';

type ModelHandlers = Pick<HostHandlers, Extract<keyof HostHandlers, `models.${string}`>>;

/** The service, and what other services need of it. */
export interface ModelService {
  readonly handlers: ModelHandlers;
  /** Adds the checkpoint folder `path`, or looks at it anew. */
  add(path: string): Promise<ModelEntry>;
  entryOf(id: string): ModelEntry;
}

/** Serves the checkpoints in the list. */
export function createModelService({ db, notify, ports }: HostContext, files: FileService): ModelService {
  const entryOf = (id: string): ModelEntry => {
    const entry = db.models.get(id);
    if (!entry) throw new UserError('model/unknown', `there is no model ${id}`, 'Add it again.');
    return entry;
  };
  const save = (entry: ModelEntry): ModelEntry => {
    db.models.put(entry);
    notify('models.changed', { id: entry.id });
    return entry;
  };
  const add = async (path: string): Promise<ModelEntry> => {
    const summary = await ports.models.inspect(path);
    const known = db.models.list().find((entry) => entry.path === summary.path);
    return save({ ...summary, id: known?.id ?? newId('model'), addedMs: known?.addedMs ?? ports.now() });
  };

  return {
    add,
    entryOf,
    handlers: {
      'models.list': () => db.models.list(),
      'models.add': async ({ handle }) => add(await files.pathOf(handle)),
      'models.verify': async ({ id }) => {
        const { path, addedMs } = entryOf(id);
        const summary = await ports.models.inspect(path);
        return save({ ...summary, id, addedMs, sha256: await ports.models.sha256(path) });
      },
      'models.remove': ({ id }) => {
        entryOf(id);
        db.models.remove(id);
        notify('models.changed', { id });
        return null;
      },
    },
  };
}
