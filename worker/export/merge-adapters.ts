/** Adapters of a folder merged into a model, and taken out of it again. */
import { UserError } from '#core/contract/errors.ts';
import { openModelFolder, type FileDigest, type FloatDtype } from '#worker/checkpoint/index.ts';
import {
  adapterOf,
  mergeAdapter,
  parametersOf,
  unmergeAdapter,
  type GivenAdapters,
  type Parameter,
} from '#worker/model/index.ts';
import { readAdapters, decoderOf } from '#worker/train/index.ts';
import { storedValues, writeModel } from './write-model.ts';

/** What to merge. */
export interface MergeRequest {
  readonly modelDir: string;
  /** A folder in the format of PEFT. */
  readonly adapterDir: string;
  /** The folder to create. */
  readonly out: string;
  readonly dtype: FloatDtype | 'source';
  /** Take the adapters out of a model they were merged into; LoRA only. */
  readonly undo: boolean;
}

/**
 * Writes the model that computes what a model and adapters compute together.
 * @throws UserError for everything wrong with either folder, and `adapter/not-undone` for DoRA.
 */
export async function mergeAdapters({
  modelDir,
  adapterDir,
  out,
  dtype,
  undo,
}: MergeRequest): Promise<{ readonly files: readonly FileDigest[]; readonly tensors: number }> {
  const source = await openModelFolder(modelDir);
  try {
    const { family, plan } = decoderOf(source);
    const { plan: adapters, values }: GivenAdapters = readAdapters(adapterDir, family, plan);
    if (undo && adapters.magnitude) {
      throw new UserError(
        'adapter/not-undone',
        `${adapterDir} holds DoRA adapters, which cannot be taken out of a model: it no longer has the length of its rows`,
        'Go back to the model they were merged into.',
      );
    }
    const change = undo ? unmergeAdapter : mergeAdapter;
    const base = { source, family, plan };
    return await writeModel(
      {
        ...base,
        parameters: parametersOf(plan),
        isChanged: ({ role }) => adapters.roles.has(role),
        values(parameter: Parameter) {
          const stored = storedValues(base, parameter);
          return adapters.roles.has(parameter.role)
            ? change(
                stored,
                adapterOf(parameter, adapters, (id) => values.get(id)),
              )
            : stored;
        },
      },
      out,
      dtype,
    );
  } finally {
    source.close();
  }
}
