/** `expert-study MODEL`: what a model loses without its least used experts. */
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { routerShapes } from '#worker/model/index.ts';
import { loadModel } from '#worker/train/index.ts';
import { expertCriteria, removalModes, studyExperts } from '#worker/transform/index.ts';
import type { Command, Invocation } from './command.ts';
import { readSamples } from './read-samples.ts';
import { count, number, table } from './terminal.ts';

/** Ranks experts on half of the examples and measures the loss on the other half. */
export const expertStudy: Command = async (invocation) => {
  const modelDir = path.resolve(invocation.args[0] ?? '');
  const keep = readShares(invocation);
  const mode = invocation.choice('removal', removalModes) ?? 'reroute';
  const samples = await readSamples(invocation, modelDir);
  if (samples.examples < 2) {
    throw new UserError(
      'study/too-few',
      `${samples.examples} example is not enough: one half ranks, the other measures`,
      'Give more data.',
    );
  }
  const model = await loadModel({ modelDir, method: { name: 'full', options: {} }, trains: false });
  try {
    const shapes = routerShapes(model.plan);
    const [shape] = shapes;
    if (shape === undefined) {
      throw new UserError(
        'study/no-experts',
        `${modelDir} has no experts`,
        'Choose a checkpoint with experts.',
      );
    }
    const tooFew = keep.find((share) => Math.ceil(share * shape.experts - 1e-9) < shape.expertsPerToken);
    if (tooFew !== undefined && mode === 'reroute') {
      throw new UserError(
        'study/too-few-experts',
        `--keep ${100 * tooFew} leaves fewer experts than the ${shape.expertsPerToken} a token is sent to`,
        'Keep more, or use --removal zero.',
      );
    }
    const half = Math.floor(samples.examples / 2);
    const parts = { ranked: samples.batches.slice(0, half), measured: samples.batches.slice(half) };
    const study = await studyExperts(model, parts, keep, mode, (what) => invocation.terminal.progress(what));
    const rows = keep.map((share) => [
      `${number(100 * share)} %`,
      ...expertCriteria.map((criterion) => {
        const row = study.rows.find((entry) => entry.criterion === criterion && entry.keep === share);
        return row === undefined
          ? '–'
          : `${row.loss.toFixed(4)} (${row.loss < study.baseLoss ? '−' : '+'}${Math.abs(row.loss - study.baseLoss).toFixed(4)})`;
      }),
    ]);
    return {
      document: {
        model: modelDir,
        removal: mode,
        rankedExamples: half,
        measuredExamples: samples.examples - half,
        files: samples.files,
        ...study,
      },
      text: [
        `loss with all experts ${study.baseLoss.toFixed(4)}; ranked on ${count(half)} examples, measured on ${count(samples.examples - half)} others, no retraining`,
        table([['kept', 'by activity', 'by gate weight', 'by output norm'], ...rows], new Set([0, 1, 2, 3])),
      ].join('\n'),
    };
  } finally {
    model.close();
  }
};

/** Percentages, as shares. */
function readShares(invocation: Invocation): number[] {
  const text = invocation.text('keep') ?? '25,50,75,90,100';
  return text.split(',').map((part) => {
    const value = Number(part);
    if (part.trim() !== '' && value > 0 && value <= 100) return value / 100;
    throw new UserError(
      'cli/bad-value',
      `--keep is ${JSON.stringify(text)}`,
      'Expected percentages between 0 and 100, for instance 50,75,90.',
    );
  });
}
