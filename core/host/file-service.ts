/** Paths the user named, behind handles: a page never holds a path it could open. */
import { realpath, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import type { HostHandlers } from '#core/contract/host-api.ts';
import type { HostContext } from './host-context.ts';

type FileHandlers = Pick<HostHandlers, Extract<keyof HostHandlers, `files.${string}`>>;

/** The service, and what other services need of it. */
export interface FileService {
  readonly handlers: FileHandlers;
  /** The handle of an existing file or folder. */
  register(given: string): Promise<{ handle: string; name: string }>;
  /**
   * The path behind `handle`, still the real one.
   * @throws UserError `file/unknown`, `file/missing`, `file/changed`
   */
  pathOf(handle: string): Promise<string>;
}

/** Registers files and folders. */
export function createFileService({ db, ports }: HostContext): FileService {
  const register = async (given: string): Promise<{ handle: string; name: string }> => {
    const typed = given.trim();
    const expanded =
      typed === '~' || typed.startsWith('~/') ? path.join(os.homedir(), typed.slice(1)) : typed;
    if (!path.isAbsolute(expanded)) {
      throw new UserError(
        'file/not-absolute',
        `${typed}: not a full path`,
        'Give the path from the root on.',
      );
    }
    const real = await existing(expanded);
    const info = await stat(real);
    if (!info.isFile() && !info.isDirectory()) {
      throw new UserError(
        'file/special',
        `${typed}: neither a file nor a folder`,
        'Choose a file or a folder.',
      );
    }
    return { handle: db.files.register(real), name: path.basename(real) };
  };

  return {
    register,
    pathOf: async (handle) => {
      const known = db.files.pathOf(handle);
      if (known === undefined) {
        throw new UserError('file/unknown', 'this file was not chosen here', 'Choose it again.');
      }
      const real = await existing(known);
      if (real !== known) {
        throw new UserError(
          'file/changed',
          `${known}: it is now a link to ${real}`,
          'Choose the file again.',
        );
      }
      return real;
    },
    handlers: {
      'files.choose': async ({ kind }) => {
        if (!ports.choosePath) {
          throw new UserError(
            'shell/no-dialog',
            'a browser cannot open the file dialog of this computer',
            'Type the path, or drop the file to copy it.',
          );
        }
        const chosen = await ports.choosePath(kind);
        return chosen === null ? null : register(chosen);
      },
      'files.register': ({ path: given }) => register(given),
    },
  };
}

/** The real path of something that exists. */
async function existing(given: string): Promise<string> {
  try {
    return await realpath(given);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new UserError(
      'file/missing',
      code === 'ENOENT' ? `${given}: no such file or folder` : `${given} cannot be reached (${code})`,
      'Check the path; it may have been moved.',
      { cause: error },
    );
  }
}
