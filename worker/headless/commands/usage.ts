/** `usage RUN`: what happened to every expert, layer by layer and step by step. */
import { UserError } from '#core/contract/errors.ts';
import type { RoutingRecord } from '#core/contract/metrics.ts';
import type { RunFacts } from '#core/contract/run.ts';
import { loadMetrics } from '#core/load/load-metrics.ts';
import { effectiveUpdates_E, starvation } from '#core/report/index.ts';
import { openRunReader, runFiles } from '#core/store/index.ts';
import type { z } from 'zod';
import type { Command } from './command.ts';
import { findRun } from './find-run.ts';
import { count, number, table } from './terminal.ts';

type Facts = z.infer<typeof RunFacts>;

/** One MoE layer of one step; arrays have an entry for each expert. What was not recorded is absent. */
interface LayerUsage {
  /** Index in the decoder. */
  readonly layer: number;
  /** Selections over real tokens, all k choices, condensers not counted. */
  readonly counts: readonly number[];
  /** Sum of gate weights over real tokens. */
  readonly mass?: readonly number[];
  /** Sum of router scores over real tokens. */
  readonly soft?: readonly number[];
  /** Norm of the expert's gradient before clipping; null: nothing of it trains. */
  readonly gradNorm?: readonly (number | null)[];
  readonly bias?: readonly number[];
  readonly condensers?: readonly number[];
}

interface StepUsage {
  readonly step: number;
  readonly layers: readonly LayerUsage[];
}

/** Prints the usage of one step, or of all recorded ones for programs. */
export const usage: Command = (invocation) => {
  const dir = findRun(invocation.args[0] ?? '', invocation.home);
  const step = invocation.integer('step', 0);
  const { facts, records } = readUsage(dir, step);
  const steps = records.map((record) => layersOf(record, facts));
  const last = steps.at(-1);
  if (last === undefined) {
    throw new UserError(
      'usage/no-record',
      step === undefined ? `${dir} has no routing records` : `${dir} has no routing record of step ${step}`,
      'Routing is recorded from the first finished step on.',
    );
  }
  const document = {
    dir,
    experts: facts.experts,
    expertsPerToken: facts.expertsPerToken,
    steps,
    updates: facts.moeLayerIndices.map((layer, l) => ({
      layer,
      steps: effectiveUpdates_E(steps.map(({ layers }) => layers[l]?.counts ?? [])),
    })),
  };
  return Promise.resolve({ document, text: invocation.flag('csv') ? csv(steps) : describe(last, facts) });
};

function readUsage(
  dir: string,
  step: number | undefined,
): { readonly facts: Facts; readonly records: readonly RoutingRecord[] } {
  const reader = openRunReader(runFiles(dir).db);
  try {
    const facts = reader.facts();
    if (facts === null) {
      throw new UserError(
        'usage/not-prepared',
        `${dir}: the run has not got as far as its model`,
        'Wait, or see why it ended.',
      );
    }
    const range = step === undefined ? {} : { fromStep: step, toStep: step };
    return { facts, records: reader.routing({ ...range, limit: Infinity }) };
  } finally {
    reader.close();
  }
}

function layersOf(record: RoutingRecord, { experts, moeLayerIndices }: Facts): StepUsage {
  const { counts_LE, mass_LE, soft_LE, gradNorm_LE, bias_LE, condensers } = record;
  const slice = (values: Uint32Array | Float32Array, l: number) =>
    Array.from(values.subarray(l * experts, (l + 1) * experts));
  return {
    step: record.step,
    layers: moeLayerIndices.map((layer, l) => ({
      layer,
      counts: slice(counts_LE, l),
      ...(mass_LE && { mass: slice(mass_LE, l) }),
      ...(soft_LE && { soft: slice(soft_LE, l) }),
      ...(gradNorm_LE && {
        gradNorm: slice(gradNorm_LE, l).map((norm) => (Number.isNaN(norm) ? null : norm)),
      }),
      ...(bias_LE && { bias: slice(bias_LE, l) }),
      ...(condensers && { condensers: condensers[l] ?? [] }),
    })),
  };
}

/** `load` is the share of selections divided by the uniform share. */
function csv(steps: readonly StepUsage[]): string {
  const lines = steps.flatMap(({ step, layers }) =>
    layers.flatMap(({ layer, counts, mass, soft, gradNorm, bias, condensers }) => {
      const total = counts.reduce((sum, value) => sum + value, 0);
      return counts.map((selections, expert) =>
        [
          step,
          layer,
          expert,
          selections,
          total === 0 ? '' : (selections * counts.length) / total,
          mass?.[expert] ?? '',
          bias?.[expert] ?? '',
          condensers === undefined ? '' : Number(condensers.includes(expert)),
          soft?.[expert] ?? '',
          gradNorm?.[expert] ?? '',
        ].join(','),
      );
    }),
  );
  return ['step,layer,expert,selections,load,gate_mass,bias,condenser,soft_usage,grad_norm', ...lines].join(
    '\n',
  );
}

function describe({ step, layers }: StepUsage, { experts, expertsPerToken }: Facts): string {
  const rows = layers.map(({ layer, counts, gradNorm, bias, condensers }) => {
    const total = counts.reduce((sum, value) => sum + value, 0);
    const busiest = counts
      .map((selections, expert) => ({ selections, expert }))
      .sort((a, b) => b.selections - a.selections)
      .slice(0, 4)
      .map(
        ({ selections, expert }) => `${expert}: ${number((selections * experts) / Math.max(1, total), 2)}×`,
      );
    const metrics = total === 0 ? undefined : loadMetrics(counts);
    const learning = gradNorm && starvation(gradNorm.map((norm) => norm ?? NaN));
    return [
      String(layer),
      metrics === undefined ? '–' : number(metrics.gini, 2),
      metrics === undefined ? '–' : String(metrics.dead),
      metrics === undefined ? '–' : String(metrics.expertsForHalf),
      learning && Number.isFinite(learning.ratio) ? number(learning.ratio, 2) : '–',
      busiest.join(' '),
      bias === undefined ? '–' : `${number(Math.min(...bias), 2)} to ${number(Math.max(...bias), 2)}`,
      condensers === undefined || condensers.length === 0 ? '–' : condensers.join(' '),
    ];
  });
  const header = [
    'layer',
    'Gini',
    'unused',
    'for half',
    'low ÷ high gradient',
    'busiest (× uniform)',
    'bias',
    'condensers',
  ];
  return [
    `step ${count(step)}: ${experts} experts a layer, ${expertsPerToken} chosen for a token`,
    table([header, ...rows], new Set([0, 1, 2, 3, 4])),
  ].join('\n');
}
