/** `fit-gate MODEL`: gives local experts gates, fitted on special and on general text. */
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { openModelFolder } from '#worker/checkpoint/index.ts';
import { storedValues, writeModel } from '#worker/export/index.ts';
import { additionsOf, isAddition, parametersOf, withAdditions } from '#worker/model/index.ts';
import { decoderOf } from '#worker/train/index.ts';
import { fitGates, loadUngated, type GateFitMeasure } from '#worker/transform/index.ts';
import type { Command, Invocation } from './command.ts';
import { readSamples } from './read-samples.ts';
import { count, megabytes, number, table } from './terminal.ts';

/** Reads both kinds of text, fits, and writes the model with its gates. */
export const fitGate: Command = async (invocation) => {
  const modelDir = path.resolve(invocation.args[0] ?? '');
  const out = path.resolve(invocation.requiredText('out'));
  const margin = share(invocation, 'margin', 0);
  const allowed = share(invocation, 'allowed', 0.001);
  const tokens = invocation.integer('tokens') ?? 4096;
  const special = await readSamples(invocation, modelDir, 'special');
  const general = await readSamples(invocation, modelDir, 'general');
  const source = await openModelFolder(modelDir);
  try {
    const { family, plan } = decoderOf(source);
    const model = await loadUngated(modelDir, additionsOf(plan).localExpert);
    try {
      const fit = await fitGates(model, {
        special: special.batches,
        general: general.batches,
        margin,
        allowed,
        tokens,
        onProgress: (text) => invocation.terminal.progress(text),
      });
      const summary = {
        margin,
        allowed,
        sourceModel: modelDir,
        data: { special: special.files, general: general.files },
        ...fit,
      };
      const gated = withAdditions(plan, { localExpert: fit.localExpert });
      const base = { source, family, plan: gated };
      const { files } = await writeModel(
        {
          ...base,
          parameters: parametersOf(gated),
          isChanged: isAddition,
          values: (parameter) =>
            isAddition(parameter) ? model.store.values(parameter.id) : storedValues(base, parameter),
        },
        out,
        'source',
        new Map([['gate_fit.json', `${JSON.stringify(summary, null, 2)}\n`]]),
      );
      const areas = fit.areas.filter((area) => !Number.isNaN(area));
      const meanArea = areas.reduce((sum, area) => sum + area, 0) / areas.length;
      const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
      return {
        document: { out, files, ...summary },
        text: [
          `${out}: gates with threshold ${fit.localExpert.threshold}, ${megabytes(bytes / 1e6)}, read back and equal`,
          table(
            [
              ['held-out text', 'tokens', 'gates closed', 'open', 'fitted', 'tokens above'],
              row('special', fit.special),
              row('general', fit.general),
            ],
            new Set([1, 2, 3, 4, 5]),
          ),
          `Area under the curve of a gate: ${number(meanArea, 3)} on average of ${areas.length}.`,
        ].join('\n'),
      };
    } finally {
      model.close();
    }
  } finally {
    source.close();
  }
};

function row(name: string, { tokens, base, local, gated, open }: GateFitMeasure): string[] {
  return [
    name,
    count(tokens),
    ...[base, local, gated].map((loss) => number(loss, 4)),
    `${number(100 * open, 3)} %`,
  ];
}

function share(invocation: Invocation, option: string, otherwise: number): number {
  const value = invocation.number(option) ?? otherwise;
  if (value >= 0) return value;
  throw new UserError('cli/bad-value', `--${option} is ${value}`, 'Expected a number of at least 0.');
}
