/** The adapters of a run as a folder in the format of PEFT. */
import { UserError, invariant } from '#core/contract/errors.ts';
import {
  decodeFloats,
  encodeFloats,
  writeAdapterFolder,
  writeNewFolder,
  type FileDigest,
  tensorBytes,
  type FloatDtype,
  type FolderOptions,
  type NewFolder,
} from '#worker/checkpoint/index.ts';
import type { LowRankPlan, DecoderPlan, Family } from '#worker/model/index.ts';
import { adapterConfig, adaptersByName, readAdapters, targetModules } from '#worker/train/index.ts';

/** Trained adapters of a model. */
export interface TrainedAdapters {
  readonly family: Family;
  readonly plan: DecoderPlan;
  readonly adapters: LowRankPlan;
  /** Name of the model they belong to. */
  readonly base: string;
  /** Values of a part by the id of its parameter. */
  readonly read: (id: string) => Float32Array;
}

/**
 * Writes the folder `out` and reads it back.
 * @param extraFiles further files, by plain name.
 * @throws UserError those of `adaptersByName` and of `writeNewFolder`, and `adapter-file/…` where the disk refuses; nothing is
 *   then left behind.
 */
export async function writeAdapters(
  { family, plan, adapters, base, read }: TrainedAdapters,
  out: string,
  dtype: FloatDtype,
  extraFiles: ReadonlyMap<string, Uint8Array>,
  onProgress?: FolderOptions['onProgress'],
): Promise<{ readonly files: readonly FileDigest[]; readonly tensors: number }> {
  const parts = [...adaptersByName(family, plan, adapters)];
  const about = { base, targetModules: targetModules(family, plan, adapters) };
  const tensors = parts.map(([name, { id, shape }]) => ({ name, shape, values: () => read(id) }));
  const fill = ({ path, fileSystem, files: written, write, expect }: NewFolder): void => {
    expect(tensors.reduce((sum, { shape }) => sum + tensorBytes(dtype, shape), 0));
    const config = adapterConfig(family, plan, adapters);
    written.push(...writeAdapterFolder(path, config, about, tensors, dtype, fileSystem));
    const { values } = readAdapters(path, family, plan);
    for (const [name, { id }] of parts) {
      const own = decodeFloats(encodeFloats(read(id), dtype), dtype);
      const found = values.get(id);
      invariant(found?.length === own.length, `${name} was written`);
      if (own.every((value, i) => value === found[i])) continue;
      throw new UserError(
        'export/not-verified',
        `${out}: ${name} does not read back as written`,
        'Check the disk, or export an earlier checkpoint.',
      );
    }
    for (const [name, content] of extraFiles) write(name, content);
  };
  const files = await writeNewFolder(out, fill, { onProgress });
  return { files, tensors: parts.length };
}
