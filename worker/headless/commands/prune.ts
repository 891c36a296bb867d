/** `prune MODEL`: scores the neurons of all experts and writes the checkpoint without the least of them. */
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { openModelFolder, type FloatDtype } from '#worker/checkpoint/index.ts';
import type { MicroBatch } from '#worker/data/index.ts';
import { moeLayerIndices, type DecoderPlan } from '#worker/model/index.ts';
import { loadModel } from '#worker/train/index.ts';
import {
  neuronScoreNames,
  pruneScopes,
  prunedLayouts,
  readsData,
  scoreNeurons,
  selectNeurons,
  takesGradients,
  writePruned,
  type DroppedNeurons,
} from '#worker/transform/index.ts';
import type { Command, Invocation } from './command.ts';
import { readSamples } from './read-samples.ts';
import { count, megabytes, number, table } from './terminal.ts';

/** Scores, selects and writes. */
export const prune: Command = async (invocation) => {
  const modelDir = path.resolve(invocation.args[0] ?? '');
  const out = path.resolve(invocation.requiredText('out'));
  const ratio = readRatio(invocation);
  const score = invocation.choice('score', neuronScoreNames) ?? 'meanAbsGrad';
  const scope = invocation.choice('scope', pruneScopes) ?? 'expert';
  const layout = invocation.choice('layout', prunedLayouts) ?? (scope === 'expert' ? 'structural' : 'mask');
  const least = invocation.integer('least-width', 0) ?? 0;
  const seed = invocation.integer('seed', 0) ?? 0;
  const perHit = invocation.flag('per-hit');
  const dtype =
    invocation.choice<FloatDtype | 'source'>('dtype', ['source', 'F32', 'BF16', 'F16']) ?? 'source';
  const samples = readsData(score) ? await readSamples(invocation, modelDir) : undefined;
  const model = await loadModel({
    modelDir,
    method: { name: 'full', options: {} },
    trains: takesGradients(score) ? ({ expert }) => expert !== null : false,
  });
  const { family, plan } = model;
  let scored;
  try {
    if (moeLayerIndices(plan).length === 0) {
      throw new UserError(
        'prune/no-experts',
        `${modelDir} has no experts`,
        'Choose a checkpoint with experts.',
      );
    }
    const batches = counted(samples?.batches ?? [], (text) => invocation.terminal.progress(text));
    scored = await scoreNeurons(model, score, batches, { perHit, seed });
  } finally {
    model.close();
  }
  const dropped = selectNeurons(scored.scores_LEI, scope, ratio, least);
  const layers = keptOf(plan, dropped);
  const summary = {
    method: 'prune-intermediate',
    score,
    scope,
    ratio,
    layout,
    tieRule: 'lower layer, expert, neuron first',
    sourceModel: modelDir,
    calibration: samples
      ? { files: samples.files, samples: samples.examples, tokens: samples.tokens, perHit, seed }
      : null,
    droppedNeurons: dropped.flat(2).length,
    totalNeurons: layers.reduce((sum, { width, kept }) => sum + width * kept.length, 0),
    layers: layers.map((layer, l) => ({
      ...layer,
      hits: scored.hits_LE === null ? null : [...(scored.hits_LE[l] ?? [])],
      dropped: dropped[l] ?? [],
    })),
  };
  const source = await openModelFolder(modelDir);
  let files;
  try {
    const extraFiles = new Map([['pruning_summary.json', `${JSON.stringify(summary, null, 2)}\n`]]);
    files = await writePruned({ source, family, plan, dropped }, { out, layout, dtype, extraFiles });
  } finally {
    source.close();
  }
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const rows = layers.map(({ layer, width, kept }) => [
    String(layer),
    `${number((100 * kept.reduce((sum, n) => sum + n, 0)) / (width * kept.length), 3)} %`,
    String(Math.min(...kept)),
    String(Math.max(...kept)),
    String(kept.filter((n) => n === 0).length),
  ]);
  return {
    document: { out, files, ...summary },
    text: [
      `${out}: ${count(summary.droppedNeurons)} of ${count(summary.totalNeurons)} neurons dropped (${score}, scope ${scope}, ${layout}), ${megabytes(bytes / 1e6)}, read back and equal`,
      table([['layer', 'kept', 'narrowest', 'widest', 'empty experts'], ...rows], new Set([0, 1, 2, 3, 4])),
    ].join('\n'),
  };
};

/** Tells which sample is next. */
function* counted(batches: readonly MicroBatch[], show: (text: string) => void): Generator<MicroBatch> {
  for (const [index, batch] of batches.entries()) {
    show(`sample ${index + 1} of ${batches.length}`);
    yield batch;
  }
}

function readRatio(invocation: Invocation): number {
  const ratio = invocation.number('ratio') ?? 0.25;
  if (ratio > 0 && ratio < 1) return ratio;
  throw new UserError('cli/bad-value', `--ratio is ${ratio}`, 'Expected a number between 0 and 1.');
}

/** What each expert keeps, by layer. */
function keptOf(plan: DecoderPlan, dropped: DroppedNeurons) {
  return moeLayerIndices(plan).map((layer, l) => {
    const { feedForward } = plan.layers[layer] ?? {};
    const width = feedForward?.kind === 'moe' ? feedForward.intermediate : 0;
    return { layer, width, kept: (dropped[l] ?? []).map((neurons) => width - neurons.length) };
  });
}
