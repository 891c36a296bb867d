/** The weights of a run that differ from those it started from. */
import { basename, join } from 'node:path';
import { methodLabel } from '#core/contract/methods-together.ts';
import {
  encodeFinite,
  isFloatDtype,
  readSafetensors,
  tensorBytes,
  writeNewFolder,
  writeSafetensors,
  type FileDigest,
  type FloatDtype,
  type FolderOptions,
  type NamedTensor,
} from '#worker/checkpoint/index.ts';
import { additionsOf, isAddition, type Parameter } from '#worker/model/index.ts';
import type { TrainedRun } from './trained-run.ts';
import { placeOf } from './write-model.ts';

/**
 * Only what changed: `delta.safetensors` under the published names, and `delta.json` with the hash of the base.
 * @param program that writes, with its version.
 * @throws UserError `export/non-finite`, and those of `writeNewFolder`.
 */
export async function writeDelta(
  run: TrainedRun,
  out: string,
  dtype: FloatDtype | 'source',
  program: string,
  onProgress?: FolderOptions['onProgress'],
): Promise<{ readonly files: readonly FileDigest[]; readonly tensors: number }> {
  const changed = run.parameters.filter((parameter) => run.isChanged(parameter) && differs(run, parameter));
  const tensors = changed.map((parameter): Omit<NamedTensor, 'dtype'> & { readonly dtype: FloatDtype } => {
    const name = deltaName(run, parameter);
    const own = run.source.tensors.get(placeOf(run, parameter)?.name ?? '')?.dtype;
    const type = dtype !== 'source' ? dtype : own !== undefined && isFloatDtype(own) ? own : 'F32';
    const data = () => encodeFinite(name, run.values(parameter), type);
    return { name, dtype: type, shape: parameter.shape, data };
  });
  const files = await writeNewFolder(
    out,
    ({ path, fileSystem, files: written, expect, write }) => {
      expect(tensors.reduce((sum, tensor) => sum + tensorBytes(tensor.dtype, tensor.shape), 0));
      const file = join(path, 'delta.safetensors');
      written.push(writeSafetensors(file, tensors, { metadata: { format: 'pt' }, fileSystem }));
      readSafetensors(file).close();
      write('delta.json', `${JSON.stringify(manifestOf(run, tensors, program), null, 2)}\n`);
    },
    { onProgress },
  );
  return { files, tensors: tensors.length };
}

/** The published name of a parameter; its own id where the published tensor holds others too. */
function deltaName({ family, plan }: TrainedRun, parameter: Parameter): string {
  const published = family.stored(parameter, plan)[0];
  return published === undefined || published.block !== undefined ? parameter.id : published.name;
}

function differs(run: TrainedRun, parameter: Parameter): boolean {
  if (isAddition(parameter) && run.source.additions?.tensors.has(parameter.id) !== true) return true;
  const base = run.sourceValues(parameter);
  return run.values(parameter).some((value, i) => value !== base[i]);
}

function manifestOf(
  { spec, step, source, plan }: TrainedRun,
  tensors: readonly Pick<NamedTensor, 'name' | 'dtype' | 'shape'>[],
  program: string,
) {
  return {
    format: 'condenser-delta',
    version: 1,
    program,
    base: { name: basename(spec.model.path), files: source.files },
    method: methodLabel(spec.method),
    additions: additionsOf(plan),
    step,
    tensors: tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
  };
}
