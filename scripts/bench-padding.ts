/**
 * Measures what padding costs on real rows: the same examples through the trainer's loader and step three ways, in turns. Padded
 * to the longest of a micro-batch in file order; the same in buckets of similar length; packed.
 *
 * Usage: node scripts/bench-padding.ts --data ROWS.jsonl [--model MODEL] [--tokenizer DIR] [--rows 128] [--batch 8] [--length 512]
 *   [--threads N] [--write FILE]
 *
 * Every way takes each row once. A packed micro-batch has as many rows as make its tokens about those of --batch examples, so that
 * all ways take about as many steps of the optimizer. With --tokenizer rows are cut up as another model does, and its ids are
 * folded into the vocabulary of MODEL: lengths of real text for a random model. --write saves the padded micro-batches in file
 * order, a JSON document a line, for scripts/bench-padding-peer.py.
 *
 * Processor time, since it is steadier than time on a machine that others use too.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { loadModel } from '#worker/train/index.ts';
import { parseRunSpec } from '../core/contract/run-spec.ts';
import { createLoader, openTokenizer, prepareData, type MicroBatch } from '../worker/data/index.ts';
import { gradientNorm, lossTargets } from '../worker/engine/index.ts';
import { measureLoad, ownSeconds } from '../worker/headless/commands/bench/machine-load.ts';
import path from 'node:path';
import { makeTemporaryFolder } from '#core/process/temporary-folder.ts';

const OPTIMIZER = { betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 } as const;
const LEARNING_RATE = 1e-5;

const { values: options } = parseArgs({
  options: {
    data: { type: 'string' },
    model: { type: 'string', default: path.join(import.meta.dirname, '../resources/sample/sample-moe') },
    tokenizer: { type: 'string' },
    rows: { type: 'string', default: '128' },
    batch: { type: 'string', default: '8' },
    length: { type: 'string', default: '512' },
    threads: { type: 'string' },
    write: { type: 'string' },
  },
});
const { data: file, model: modelDir, tokenizer: tokenizerDir = modelDir } = options;
if (file === undefined) {
  console.error('bench-padding needs --data; see the head of scripts/bench-padding.ts');
  process.exit(2);
}
const [rows, microBatch, maxLength] = [Number(options.rows), Number(options.batch), Number(options.length)];

const folder = makeTemporaryFolder('bench');
const firstRows = path.join(folder, 'rows.jsonl');
writeFileSync(firstRows, readFileSync(file, 'utf8').split('\n').slice(0, rows).join('\n'));
const spec = parseRunSpec({
  model: { path: modelDir },
  data: { train: [{ path: firstRows }], validation: { fraction: 0 }, template: 'none', maxLength },
  method: { name: 'full' },
});
const tokenizer = await openTokenizer(tokenizerDir);
const data = await prepareData(spec.data, { tokenizer, cacheDir: folder, seed: 1 });
const model = await loadModel({
  modelDir,
  method: spec.method,
  ...(options.threads !== undefined && { threads: Number(options.threads) }),
});
try {
  const { vocabularySize } = model.plan;
  const fold = (batch: MicroBatch): MicroBatch => ({
    ...batch,
    inputIds: batch.inputIds.map((id) => id % vocabularySize),
    labels: batch.labels.map((label) => (label < 0 ? label : label % vocabularySize)),
  });
  const meanLength = data.stats.tokens / data.train.length;
  const packedRows = Math.max(1, Math.round((microBatch * meanLength) / maxLength));
  const base = { maxLength, seed: 1, padId: 0, shuffle: false, packing: false, microBatch };
  const ways = Object.entries({
    padded: base,
    buckets: { ...base, packing: 'buckets' as const },
    packed: { ...base, packing: true, microBatch: packedRows },
  }).map(([name, loader]) => {
    const batches = [...createLoader(data.train, loader).pass()].map(fold);
    return { name, batches, seconds: 0, processor: 0 };
  });
  if (options.write !== undefined) {
    const lines = (ways[0]?.batches ?? []).map(({ batch, sequence, inputIds, labels, segments }) =>
      JSON.stringify({ batch, sequence, ids: [...inputIds], labels: [...labels], segments: [...segments] }),
    );
    writeFileSync(options.write, `${lines.join('\n')}\n`);
  }

  let step = 0;
  const { executor, optimizer } = model;
  const take = async (batch: MicroBatch) => {
    await executor.train(batch, lossTargets(batch).at.length, 1);
    optimizer.step(OPTIMIZER, ++step, LEARNING_RATE, gradientNorm(optimizer.gradientSquares()));
  };
  // Programs are compiled, and memory grows to what the longest micro-batch takes.
  for (const { batches } of ways) {
    const longest = batches.toSorted((a, b) => b.batch * b.sequence - a.batch * a.sequence)[0];
    if (longest !== undefined) await take(longest);
  }
  const load = measureLoad();
  const most = Math.max(...ways.map(({ batches }) => batches.length));
  for (let turn = 0; turn < most; turn++) {
    for (const way of ways) {
      const batch = way.batches[turn];
      if (batch === undefined) continue;
      const [started, before] = [performance.now(), ownSeconds()];
      await take(batch);
      way.seconds += (performance.now() - started) / 1000;
      way.processor += ownSeconds() - before;
    }
  }

  const total = (batches: readonly MicroBatch[], of: (batch: MicroBatch) => number) =>
    batches.reduce((sum, batch) => sum + of(batch), 0);
  console.log(`${path.basename(modelDir)}, ${data.train.length} rows, ${meanLength.toFixed(0)} tokens a row`);
  for (const { name, batches, seconds, processor } of ways) {
    const tokens = total(batches, (batch) => batch.tokens);
    const slots = total(batches, (batch) => batch.batch * batch.sequence);
    const trained = total(batches, (batch) => lossTargets(batch).at.length);
    console.log(
      [
        name.padEnd(8),
        `${batches.length} steps of ${batches[0]?.batch} rows`,
        `padding ${(100 * (1 - tokens / slots)).toFixed(1)} %`,
        `${(trained / seconds).toFixed(0)} trained tokens/s`,
        `${((1000 * processor) / tokens).toFixed(3)} ms of processor time a token that is not padding`,
      ].join(', '),
    );
  }
  console.log(`cores other programs kept busy: ${load()?.toFixed(1) ?? 'not known'}`);
} finally {
  model.close();
  data.close();
  rmSync(folder, { recursive: true });
}
