/** A model to look at or to continue text with: a checkpoint folder, or the newest checkpoint of a run. */
import { invariant } from '#core/contract/errors.ts';
import { readRunSpec } from '#core/store/index.ts';
import { encodeFloats } from '#worker/checkpoint/index.ts';
import { openTokenizer, type Tokenizer } from '#worker/data/index.ts';
import { loadModel, type LoadedModel } from './load-model.ts';
import { openTrainedWeights } from './trainer-state.ts';

/** Where a model lies. */
export type ModelSource = { readonly modelDir: string } | { readonly runDir: string };

/** A model in memory; nothing of it trains. */
export interface OpenedModel {
  readonly model: LoadedModel;
  /** The checkpoint folder; that a run started from, for a run. */
  readonly modelDir: string;
  readonly tokenizer: Tokenizer;
  readonly template: 'auto' | 'none';
  /** Step of the checkpoint; absent for a model folder. */
  readonly step?: number;
  /** Absent for a model folder. */
  readonly runDir?: string;
}

/** The checkpoint folder that `source` is, or that its run started from. @throws UserError `run/no-spec`. */
export function modelDirOf(source: ModelSource): string {
  return 'modelDir' in source ? source.modelDir : readRunSpec(source.runDir).model.path;
}

/** Opens it. @param known its tokenizer, where that was read before. @throws UserError for everything wrong with it. */
export async function openModel(source: ModelSource, known?: Tokenizer): Promise<OpenedModel> {
  const modelDir = modelDirOf(source);
  const tokenizer = known ?? (await openTokenizer(modelDir));
  if (!('runDir' in source)) {
    const model = await loadModel({ modelDir, method: { name: 'full', options: {} }, trains: false });
    return { model, modelDir, tokenizer, template: 'auto' };
  }
  const { runDir } = source;
  const { method, data } = readRunSpec(runDir);
  const weights = openTrainedWeights(runDir);
  try {
    const model = await loadModel({
      modelDir,
      method,
      submatrices: weights.adapters?.kind === 'submatrices' ? weights.adapters : null,
      trains: false,
      holdsEmbedding: true,
    });
    for (const id of weights.ids) setWeight(model, id, weights.read(id));
    model.session.restore(weights.method);
    return { model, modelDir, tokenizer, template: data.template, step: weights.step, runDir };
  } finally {
    weights.close();
  }
}

/** Tokens that end what a model writes. */
export function endIds({ model, tokenizer }: OpenedModel): ReadonlySet<number> {
  return new Set([...model.plan.endIds, ...(tokenizer.eosId === null ? [] : [tokenizer.eosId])]);
}

/** Replaces a weight that is held for inference; half precision is rounded to, as an export in the source's type is. */
function setWeight({ store }: LoadedModel, id: string, values: Float32Array): void {
  const { dtype, data } = store.weight(id);
  if (dtype === 'float32') {
    invariant(data instanceof Float32Array, `${id} is float32`);
    data.set(values);
    return;
  }
  invariant(data instanceof Uint16Array, `${id} is held in 16 bits`);
  const bytes = encodeFloats(values, dtype === 'bfloat16' ? 'BF16' : 'F16');
  data.set(new Uint16Array(bytes.buffer, bytes.byteOffset, values.length));
}
