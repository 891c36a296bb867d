/** The result in words, each sentence with its number and what it compares to. */
import type { z } from 'zod';
import type { Comparison } from '#core/contract/run.ts';
import type { RunReport } from './report-data.ts';
import { duration, listed, percent, plural, short, significant } from './format.ts';

/** Sentences for one run, or for the comparison of several. */
export function summarise(runs: readonly RunReport[], comparison: z.infer<typeof Comparison>): string[] {
  const [first] = runs;
  if (first && runs.length === 1) {
    return [trained(first), ...losses(first), ...experts(first)];
  }
  return [
    ...runs.map(trained),
    ...ranking(runs),
    ...comparison.rateChoice,
    ...unevenness(runs),
    ...comparison.caveats,
  ];
}

function trained({ name, modelName, method, state, totals, facts }: RunReport): string {
  const what = `“${name}”: model ${modelName}, method ${method}`;
  if (totals.steps === 0) return `${what}; no step was trained (${state}).`;
  const share =
    facts === null
      ? ''
      : `, ${short(facts.trainableParameters)} of ${short(facts.totalParameters)} parameters trained`;
  const end = state === 'completed' ? '' : ` The run is ${state}.`;
  return (
    `${what}, ${plural(totals.steps, 'step')} ` +
    `(${short(totals.tokens)} tokens in ${duration(totals.seconds)}${share}).${end}`
  );
}

function losses({ totals }: RunReport): string[] {
  const sentences: string[] = [];
  if (totals.firstLoss !== undefined && totals.finalLoss !== undefined) {
    sentences.push(
      `Training loss went from ${significant(totals.firstLoss)} (first tenth) to ${significant(totals.finalLoss)} (last tenth).`,
    );
  }
  const { firstValidation: first, finalValidation: final, bestValidation: best } = totals;
  if (first && final && best && first.step !== final.step) {
    const lowest =
      best.step === final.step ? 'its lowest' : `lowest ${significant(best.loss)} at step ${best.step}`;
    sentences.push(
      `Validation loss went from ${significant(first.loss)} (step ${first.step}) to ${significant(final.loss)} ` +
        `(step ${final.step}; ${lowest}).`,
    );
  } else if (final) {
    sentences.push(
      `Validation loss is ${significant(final.loss)} at step ${final.step}, the only evaluation.`,
    );
  } else {
    sentences.push('Validation loss was not measured.');
  }
  return sentences;
}

/** Who has the lowest final validation loss, and by how much. */
function ranking(runs: readonly RunReport[]): string[] {
  const measured = runs
    .flatMap(({ name, totals }) =>
      totals.finalValidation ? [{ name, loss: totals.finalValidation.loss }] : [],
    )
    .sort((a, b) => a.loss - b.loss);
  const [best, ...rest] = measured;
  if (!best || rest.length === 0)
    return ['Fewer than two runs measured a validation loss, so none is called better.'];
  const others = rest.map(
    ({ name, loss }) => `${significant(loss)} in “${name}” (${percent(loss / best.loss - 1)} higher)`,
  );
  const unmeasured = runs.length - measured.length;
  const unheard = unmeasured > 0 ? ` ${plural(unmeasured, 'run')} did not measure it.` : '';
  return [
    `Final validation loss is lowest in “${best.name}”: ${significant(best.loss)}, against ${listed(others)}.${unheard}`,
  ];
}

function experts({ routing }: RunReport): string[] {
  if (!routing) return ['Expert usage was not recorded.'];
  const worst = routing.layers.toSorted((a, b) => b.lastGini - a.lastGini)[0];
  if (!worst) return [];
  const dead = routing.layers.reduce((sum, layer) => sum + layer.dead, 0);
  return [
    `Expert load is most uneven in layer ${worst.layer}: Gini ${significant(worst.lastGini, 2)} at the end, ` +
      `${significant(worst.firstGini, 2)} at the start; half of its selections go to ${worst.expertsForHalf} of ` +
      `${plural(routing.experts, 'expert')}.`,
    dead === 0
      ? 'Every expert of every layer got tokens in the last tenth of the run.'
      : `${plural(dead, 'expert')} of ${routing.experts * routing.layers.length} got no token in the last tenth of the run.`,
  ];
}

/** Mean Gini over layers at start and end of each run. */
function unevenness(runs: readonly RunReport[]): string[] {
  const parts = runs.flatMap(({ name, routing }) => {
    if (!routing || routing.layers.length === 0) return [];
    const mean = (of: 'firstGini' | 'lastGini') =>
      routing.layers.reduce((sum, layer) => sum + layer[of], 0) / routing.layers.length;
    return [`${significant(mean('firstGini'), 2)} → ${significant(mean('lastGini'), 2)} in “${name}”`];
  });
  return parts.length === 0
    ? ['Expert usage was not recorded.']
    : [`Gini of the expert load, mean over layers, from the first to the last tenth: ${listed(parts)}.`];
}
