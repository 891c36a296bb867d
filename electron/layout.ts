/** Where the parts of the application lie, in the repository and in a package. */
import { existsSync } from 'node:fs';
import path from 'node:path';

/** What is known of the running application. */
export interface Surroundings {
  /** The repository, or `resources/app.asar`. */
  readonly appPath: string;
  readonly packaged: boolean;
  readonly resourcesPath: string;
  readonly platform: NodeJS.Platform;
  /** The Node that ran `npm start`, in the repository. */
  readonly developmentNode: string | undefined;
}

/** Absolute paths. */
export interface Layout {
  readonly page: string;
  readonly preload: string;
  /** Sample model and data. */
  readonly sample: string;
  /** The training program; outside the archive, since plain Node reads no asar. */
  readonly workerScript: string;
  /** Starts `workerScript` inside a utility process. */
  readonly utilityEntry: string;
  /** The plain Node to train with; undefined where there is none. */
  readonly node: string | undefined;
}

/** The layout for `surroundings`. */
export function layoutOf(surroundings: Surroundings): Layout {
  const { appPath, packaged, resourcesPath, platform, developmentNode } = surroundings;
  const out = path.join(appPath, 'out');
  const unpacked = packaged ? `${appPath}.unpacked` : appPath;
  const bundledNode = path.join(resourcesPath, 'runtime', platform === 'win32' ? 'node.exe' : 'node');
  const node = packaged ? bundledNode : developmentNode;
  return {
    page: path.join(out, 'renderer'),
    preload: path.join(out, 'preload/preload.cjs'),
    sample: path.join(unpacked, 'resources/sample'),
    workerScript: path.join(unpacked, 'out/worker/main.js'),
    utilityEntry: path.join(out, 'main/utility-entry.js'),
    node: node !== undefined && existsSync(node) ? node : undefined,
  };
}
