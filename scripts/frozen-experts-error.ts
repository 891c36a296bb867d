/**
 * How far rounding frozen experts moves the gradient of a run's first step: the run's model, data and method, with experts as stored,
 * as int8 rows (`engine.frozenExperts`), and multiplied as such.
 *
 * Usage: node scripts/frozen-experts-error.ts RUN.json [--micro-batches 4]
 *
 * For each it prints the loss and, over all that trains, the length of the difference to the gradient of the stored experts in parts
 * of that gradient's. A method that chooses experts by a sample chooses them by the stored ones each time, so that the same weights train.
 */
import { readFileSync, rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { makeTemporaryFolder } from '#core/process/temporary-folder.ts';
import { FrozenExperts, parseRunSpec } from '../core/contract/run-spec.ts';
import { createLoader, openTokenizer, prepareData } from '../worker/data/index.ts';
import { lossTargets } from '../worker/engine/index.ts';
import { sampleTokensOf } from '../worker/methods/index.ts';
import type { ExpertScores } from '../worker/model/index.ts';
import { loadModel, loaderOptions, measureExperts } from '../worker/train/index.ts';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'micro-batches': { type: 'string', default: '4' } },
});
const [runFile] = positionals;
if (runFile === undefined) {
  console.error('frozen-experts-error needs a run document; see its head');
  process.exit(2);
}
const spec = parseRunSpec(JSON.parse(readFileSync(runFile, 'utf8')));
const { seed } = spec.train;
const folder = makeTemporaryFolder('frozen-experts-error');
try {
  const tokenizer = await openTokenizer(spec.model.path);
  const data = await prepareData(spec.data, { tokenizer, cacheDir: folder, seed });
  const loader = () => createLoader(data.train, loaderOptions(spec, tokenizer.padId ?? 0, true));
  const batches = [...loader().pass()].slice(0, Number(options['micro-batches']));
  const trained = batches.reduce((sum, batch) => sum + lossTargets(batch).at.length, 0);

  let expertScores: ExpertScores | null = null;
  const sampleTokens = sampleTokensOf(spec.method.name, spec.method.options);
  if (sampleTokens > 0) {
    const untouched = await loadModel({
      modelDir: spec.model.path,
      method: { name: 'full', options: {} },
      trains: false,
    });
    expertScores = await measureExperts(untouched, loader().pass(), sampleTokens);
    untouched.close();
  }

  let exact: readonly Float32Array[] | undefined;
  for (const frozenExperts of FrozenExperts.options) {
    const model = await loadModel({
      modelDir: spec.model.path,
      method: spec.method,
      seed,
      expertScores,
      frozenExperts,
    });
    const { store, executor } = model;
    let loss = 0;
    for (const batch of batches)
      loss += (await executor.train(batch, trained, batches.length)).lossSum / trained;
    store.completeGradients();
    const gradients = Array.from(store.trained.ids, (id) =>
      Float32Array.from(store.gradient(id).data as Float32Array),
    );
    exact ??= gradients;
    const error = lengthOf(gradients, exact) / lengthOf(exact);
    const remark = frozenExperts === 'int8-products' && !store.multipliesInt8 ? ' (widened: no VNNI)' : '';
    console.log(
      `${frozenExperts.padEnd(14)} loss ${loss.toFixed(6)}   gradient off by ${(100 * error).toFixed(3)} %${remark}`,
    );
    model.close();
  }
} finally {
  rmSync(folder, { recursive: true });
}

/** The Euclidean length of all tensors together, or of their difference to others. */
function lengthOf(tensors: readonly Float32Array[], others?: readonly Float32Array[]): number {
  let squares = 0;
  tensors.forEach((tensor, t) => {
    tensor.forEach((value, at) => {
      squares += (value - (others?.[t]?.[at] ?? 0)) ** 2;
    });
  });
  return Math.sqrt(squares);
}
