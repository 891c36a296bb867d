/** A model as commands use it: a checkpoint folder, or the newest checkpoint of a run. */
import path from 'node:path';
import { invariant } from '#core/contract/errors.ts';
import { readRunSpec } from '#core/store/index.ts';
import { encodeFloats } from '#worker/checkpoint/index.ts';
import { openTokenizer, type Tokenizer } from '#worker/data/index.ts';
import { loadModel, openTrainedWeights, type LoadedModel } from '#worker/train/index.ts';
import { findRun, isRunFolder } from './find-run.ts';

/** A model to look at or to continue text with. */
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

/**
 * Opens the checkpoint folder, run directory or run id `name`; nothing of it trains.
 * @throws UserError for everything wrong with either.
 */
export async function openModel(name: string, home: string | undefined): Promise<OpenedModel> {
  if (!isRunFolder(name) && !name.startsWith('run_')) {
    const modelDir = path.resolve(name);
    const tokenizer = await openTokenizer(modelDir);
    const model = await loadModel({ modelDir, method: { name: 'full', options: {} }, trains: false });
    return { model, modelDir, tokenizer, template: 'auto' };
  }
  const runDir = findRun(name, home);
  const spec = readRunSpec(runDir);
  const weights = openTrainedWeights(runDir);
  try {
    const tokenizer = await openTokenizer(spec.model.path);
    const model = await loadModel({
      modelDir: spec.model.path,
      method: spec.method,
      submatrices: weights.adapters?.kind === 'submatrices' ? weights.adapters : null,
      trains: false,
    });
    for (const id of weights.ids) setWeight(model, id, weights.read(id));
    model.session.restore(weights.method);
    return {
      model,
      modelDir: spec.model.path,
      tokenizer,
      template: spec.data.template,
      step: weights.step,
      runDir,
    };
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
