/** `bench --method all`: what a step of each method costs beside one of full fine-tuning. */
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { unpaddedBatch, type MicroBatch } from '#worker/engine/index.ts';
import { describeMethods } from '#worker/methods/index.ts';
import { createRuntime } from '#worker/runtime/index.ts';
import { decoderPlanOf, type LoadedModel } from '#worker/train/index.ts';
import { loadForBench } from './bench-method.ts';
import { benchStep, tokenStream, WARM_UPS } from './bench-step.ts';
import type { Outcome, Terminal } from '../command.ts';
import { ownSeconds } from './machine-load.ts';
import { quantile } from '../quantile.ts';
import { number, table } from '../terminal.ts';

/** What all methods are measured on. */
export interface MethodsBench {
  readonly modelDir: string;
  readonly batch: number;
  readonly sequence: number;
  readonly steps: number;
  readonly threads: number | 'auto';
  /** File of token ids; undefined: random ones. */
  readonly tokens: string | undefined;
}

const others = describeMethods().flatMap(({ name }) => (name === 'full' ? [] : [name]));

/** One method: processor time of its steps ÷ that of the step of full fine-tuning before each. */
type Cost =
  | { readonly method: string; readonly median: number; readonly quartiles: readonly [number, number] }
  | { readonly method: string; readonly refused: string };

/**
 * Steps of each method and of full fine-tuning in turn, on the same tokens: what else the machine does disturbs both alike.
 * Processor time, since it is steadier than time on a machine that others use too.
 */
export async function benchMethods(bench: MethodsBench, terminal: Terminal): Promise<Outcome> {
  const { modelDir, batch, sequence, steps, threads } = bench;
  const { vocabularySize } = await decoderPlanOf(modelDir);
  const ids = tokenStream(bench.tokens, vocabularySize, batch * sequence);
  const rowsOf = (step: number) => unpaddedBatch(ids(step), batch, ids(step));
  const load = (method: string) =>
    loadForBench(
      modelDir,
      method,
      { moments: 'float32', frozenExperts: 'stored', deviceWeights: 'auto' },
      rowsOf(-1),
      createRuntime(typeof threads === 'number' ? { threads } : {}),
    );
  const costs: Cost[] = [];
  const full = await load('full');
  try {
    for (const name of others) {
      terminal.progress(`${name} (${costs.length + 1} of ${others.length})`);
      try {
        costs.push({ method: name, ...(await costOf(full, await load(name), rowsOf, steps)) });
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        costs.push({ method: name, refused: error.message });
      }
    }
  } finally {
    full.close();
  }
  return {
    document: { model: path.basename(modelDir), batch, sequence, steps, relativeTo: 'full', costs },
    text: table([
      ['method', 'processor time ÷ full', 'middle half of the steps'],
      ...costs.map((cost) =>
        'refused' in cost
          ? [cost.method, '–', cost.refused]
          : [cost.method, number(cost.median, 3), cost.quartiles.map((q) => number(q, 3)).join(' to ')],
      ),
    ]),
  };
}

async function costOf(
  full: LoadedModel,
  model: LoadedModel,
  rowsOf: (step: number) => MicroBatch,
  steps: number,
) {
  try {
    const secondsOf = async (of: LoadedModel, step: number) => {
      const before = ownSeconds();
      await benchStep(of, rowsOf(step), step, WARM_UPS + steps);
      return ownSeconds() - before;
    };
    const ratios: number[] = [];
    for (let step = 0; step < WARM_UPS + steps; step++) {
      const reference = await secondsOf(full, step);
      const own = await secondsOf(model, step);
      if (step >= WARM_UPS) ratios.push(own / reference);
    }
    return {
      median: quantile(ratios, 0.5),
      quartiles: [quantile(ratios, 0.25), quantile(ratios, 0.75)] as const,
    };
  } finally {
    model.close();
  }
}
