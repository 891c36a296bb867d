/** The adapters of a run as a folder in the format of PEFT. */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError, invariant } from '#core/contract/errors.ts';
import {
  decodeFloats,
  digestFile,
  encodeFloats,
  writeAdapterFolder,
  type FileDigest,
  type FloatDtype,
} from '#worker/checkpoint/index.ts';
import type { LowRankPlan, DecoderPlan, Family } from '#worker/model/index.ts';
import { adapterConfig, adaptersByName, readAdapters, targetModules } from './adapter-names.ts';

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
 * @throws UserError `export/exists`, `export/not-verified`, and `adapter-file/…` where the model has no module for an
 *   adapter or the disk refuses; nothing is then left behind.
 */
export function writeAdapters(
  { family, plan, adapters, base, read }: TrainedAdapters,
  out: string,
  dtype: FloatDtype,
  extraFiles: ReadonlyMap<string, Uint8Array>,
): { readonly files: readonly FileDigest[]; readonly tensors: number } {
  if (existsSync(out) && readdirSync(out).length > 0)
    throw new UserError('export/exists', `${out} exists and is not an empty folder`, 'Choose another name.');
  const parts = [...adaptersByName(family, plan, adapters)];
  const about = { base, targetModules: targetModules(family, plan, adapters) };
  mkdirSync(out, { recursive: true });
  try {
    const tensors = parts.map(([name, { id, shape }]) => ({ name, shape, values: () => read(id) }));
    const files = writeAdapterFolder(out, adapterConfig(family, plan, adapters), about, tensors, dtype);
    const { values } = readAdapters(out, family, plan);
    for (const [name, { id }] of parts) {
      const written = decodeFloats(encodeFloats(read(id), dtype), dtype);
      const found = values.get(id);
      invariant(found?.length === written.length, `${name} was written`);
      if (written.every((value, i) => value === found[i])) continue;
      throw new UserError(
        'export/not-verified',
        `${out}: ${name} does not read back as written`,
        'Check the disk, or export an earlier checkpoint.',
      );
    }
    for (const [name, content] of extraFiles) {
      writeFileSync(join(out, name), content);
      files.push(digestFile(join(out, name)));
    }
    return { files, tensors: parts.length };
  } catch (error) {
    rmSync(out, { recursive: true, force: true });
    throw error;
  }
}
