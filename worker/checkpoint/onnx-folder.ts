/** A model as an ONNX file, its weights in a file beside it. */
import { join } from 'node:path';
import { invariant } from '#core/contract/errors.ts';
import { emit, type ExternalData, type Graph } from '#worker/graph/index.ts';
import {
  writeCompanions,
  writeConfig,
  writeNewFolder,
  type FolderOptions,
  type NewFolder,
} from './export-folder.ts';
import { writeDurably, type FileDigest } from './file-system.ts';
import type { ModelFolder } from './model-folder.ts';

/** A file of weights may have any size; a model itself may have 2 GB. */
const WEIGHTS = 'model.onnx.data';

/** Tensors begin at multiples of a page, so that readers can map them into memory. */
const PAGE = 4096;

/** The values of an input of the graph; as they are written one after the other, only one is in memory. */
export interface OnnxTensor {
  readonly name: string;
  readonly bytes: number;
  readonly data: () => Uint8Array;
}

/** What to write. */
export interface OnnxRequest {
  /** Gives the configuration, the tokenizer and other companion files. */
  readonly source: ModelFolder;
  /** The folder to create. It may exist if it is empty. */
  readonly out: string;
  readonly graph: Graph;
  /** Inputs of the graph that have fixed values. */
  readonly tensors: readonly OnnxTensor[];
  /** Looks at the written model before its folder gets its name; throws if it is not right. */
  readonly check: (file: string) => void;
  readonly onProgress?: FolderOptions['onProgress'];
}

/**
 * Writes a folder with `model.onnx`, `model.onnx.data`, config.json and companion files.
 * @throws UserError those of `writeNewFolder`, of the values and of the check; nothing is then left behind.
 */
export function writeOnnxFolder({
  source,
  out,
  graph,
  tensors,
  check,
  onProgress,
}: OnnxRequest): Promise<readonly FileDigest[]> {
  const fill = (folder: NewFolder): void => {
    const external = new Map<string, ExternalData>();
    let end = 0;
    for (const { name, bytes } of tensors) {
      const offset = Math.ceil(end / PAGE) * PAGE;
      external.set(name, { file: WEIGHTS, offset, bytes });
      end = offset + bytes;
    }
    folder.expect(end);
    folder.files.push(writeDurably(folder.fileSystem, join(folder.path, WEIGHTS), padded(tensors)));
    folder.write('model.onnx', emit(graph, 'portable', { external }));
    writeConfig(folder, source, 'source');
    writeCompanions(folder, source, new Map());
    check(join(folder.path, 'model.onnx'));
  };
  return writeNewFolder(out, fill, { onProgress });
}

/** The bytes of all tensors, each from a multiple of a page on. */
function* padded(tensors: readonly OnnxTensor[]): Generator<Uint8Array> {
  let end = 0;
  for (const { name, bytes, data } of tensors) {
    const gap = Math.ceil(end / PAGE) * PAGE - end;
    if (gap > 0) yield new Uint8Array(gap);
    const values = data();
    invariant(values.length === bytes, `${name} has ${values.length} bytes of ${bytes}`);
    yield values;
    end += gap + bytes;
  }
}
