/** `routing MODEL [TUNED]`: how a model routes data, how alike its experts are, and how far a tuned one drifted from it. */
import { UserError } from '#core/contract/errors.ts';
import { divergencesOf, loadMetrics, shares } from '#core/load/load-metrics.ts';
import { condenserTailCorrelation, massiveExperts } from '#core/report/index.ts';
import { routerShapes } from '#worker/model/index.ts';
import { measureDrift, studyRouting, type LayerStudy, type OpenedModel } from '#worker/train/index.ts';
import type { Command } from './command.ts';
import { openNamed } from './open-model.ts';
import { readSamples } from './read-samples.ts';
import { count, number, table } from './terminal.ts';

/** Tokens for which every expert is computed, to compare outputs. */
const PROBE_TOKENS = 64;

/** Measures one model, or two and the drift between them. */
export const routing: Command = async (invocation) => {
  const models: OpenedModel[] = [];
  try {
    for (const name of invocation.args) models.push(await openNamed(name, invocation.home));
    const [base, tuned] = models;
    const shapes = models.map(({ model }) =>
      routerShapes(model.plan)
        .map(({ experts }) => experts)
        .join(),
    );
    if (base === undefined || shapes[0] === '' || new Set(shapes).size > 1) {
      throw new UserError(
        'routing/different-models',
        shapes.includes('') ? 'a model has no experts' : 'the models have other layers or numbers of experts',
        'Compare a model with what was trained from it.',
      );
    }
    const samples = await readSamples(invocation, base.modelDir);
    const studies: LayerStudy[][] = [];
    for (const [index, { model }] of models.entries()) {
      invocation.terminal.progress(`model ${index + 1} of ${models.length}`);
      studies.push(await studyRouting(model, samples.batches, PROBE_TOKENS));
    }
    const drift = tuned && (await measureDrift(base.model, tuned.model, samples.batches));
    const described = studies.map((study, index) => describe(study, models[index]));
    const layers = (studies[0] ?? []).map(({ layer, sum }, l) => ({
      layer,
      models: described.map((rows) => rows.layers[l]),
      ...(drift && {
        drift: {
          ...drift[l],
          selection: divergencesOf(
            shares(sum.counts_E),
            shares(studies[1]?.[l]?.sum.counts_E ?? sum.counts_E),
          ),
        },
      }),
    }));
    const rows = described.flatMap(({ layers: own }, index) =>
      own.map((row, l) => [
        invocation.args[index] ?? '',
        String(row.layer),
        number(row.load.gini, 3),
        number(row.load.effectiveExperts, 3),
        String(row.load.dead),
        String(row.load.expertsForHalf),
        number(row.coSelection, 2),
        number(row.outputCosine, 2),
        index === 0 || drift === undefined ? '–' : number(drift[l]?.kl ?? NaN, 3),
        index === 0 || drift === undefined ? '–' : number(drift[l]?.topKJaccard ?? NaN, 3),
      ]),
    );
    const head = ['model', 'layer', 'Gini', 'effective', 'unused', 'for half', 'co-selection', 'output cosine', 'KL from base', 'same choice']; // prettier-ignore
    return {
      document: {
        examples: samples.examples,
        tokens: samples.tokens,
        files: samples.files,
        massiveExperts: described.map(({ massive }) => massive),
        layers,
      },
      text: [
        `${count(samples.examples)} examples, ${count(samples.tokens)} tokens`,
        table([head, ...rows], new Set([1, 2, 3, 4, 5, 6, 7, 8, 9])),
        ...described.flatMap(({ massive }, index) =>
          massive.length === 0
            ? []
            : [
                `massive outputs in ${invocation.args[index] ?? ''}: ${massive.map(({ layer, expert }) => `layer ${layer} expert ${expert}`).join(', ')}`,
              ],
        ),
      ].join('\n'),
    };
  } finally {
    for (const { model } of models) model.close();
  }
};

/** Mean of a correlation matrix `[E × E]` off its diagonal. */
function meanOfPairs(matrix_EE: Float64Array): number {
  const experts = Math.sqrt(matrix_EE.length);
  const pairs = matrix_EE.filter((_, at) => Math.floor(at / experts) !== at % experts);
  return pairs.reduce((sum, value) => sum + value, 0) / pairs.length;
}

function describe(study: readonly LayerStudy[], opened: OpenedModel | undefined) {
  const { condensers } = opened?.model.session.routerState() ?? {};
  return {
    massive: massiveExperts(study.map(({ largestOutput_E }) => largestOutput_E)).map(({ layer, expert }) => ({
      layer: study[layer]?.layer ?? layer,
      expert,
    })),
    layers: study.map(({ layer, sum, ...layerStudy }, l) => ({
      layer,
      tokens: sum.tokens,
      counts: [...sum.counts_E],
      activationFrequency: [...sum.activationFrequency_E()],
      mass: [...sum.mass_E],
      gateShare: [...shares(sum.mass_E)],
      soft: [...sum.soft_E],
      load: loadMetrics(sum.counts_E),
      gateLoad: loadMetrics(sum.mass_E),
      coSelection: meanOfPairs(layerStudy.coSelection_EE),
      outputCosine: meanOfPairs(layerStudy.outputCosine_EE),
      downCosine: meanOfPairs(layerStudy.downCosine_EE),
      ...(condensers?.[l] !== undefined && {
        condenserTailCosine: condenserTailCorrelation(
          layerStudy.outputCosine_EE,
          sum.counts_E,
          condensers[l],
        ),
      }),
      largestOutput: [...layerStudy.largestOutput_E],
    })),
  };
}
