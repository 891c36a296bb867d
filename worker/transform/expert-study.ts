/**
 * What a model loses without some of its experts: in each layer experts are ranked by how they are used on a sample, the
 * best are kept, and the loss is measured without retraining (the pruning study of ExpertCondenser, arXiv 2604.23036).
 */
import { invariant } from '#core/contract/errors.ts';
import { RoutingSum } from '#core/report/index.ts';
import { Executor, type MicroBatch } from '#worker/engine/index.ts';
import { op } from '#worker/graph/index.ts';
import {
  chooseBy,
  moeLayerIndices,
  routerShapes,
  routingOf,
  shapeOf,
  type MethodSession,
} from '#worker/model/index.ts';
import type { LoadedModel } from '#worker/train/index.ts';

/**
 * What experts are ranked by: tokens that chose them (`activity`), sum of their gate weights (`gateMass`), or mean norm of
 * what they add to a token that chose them, ‖w_e E_e(x)‖₂ (`outputNorm`).
 */
export const expertCriteria = ['activity', 'gateMass', 'outputNorm'] as const;
export type ExpertCriterion = (typeof expertCriteria)[number];

/** `reroute`: the logit is −∞ before the choice, so that tokens go elsewhere. `zero`: tokens go there and get nothing. */
export const removalModes = ['reroute', 'zero'] as const;
export type RemovalMode = (typeof removalModes)[number];

/** `[MoE layers][experts]` for each criterion. */
export type ExpertRanking = Readonly<Record<ExpertCriterion, readonly Float64Array[]>>;

/** Routes a sample and measures every expert by every criterion. */
export async function rankExperts(model: LoadedModel, batches: Iterable<MicroBatch>): Promise<ExpertRanking> {
  const sums: RoutingSum[] = [];
  const norms_LE: Float64Array[] = [];
  for (const batch of batches) {
    await model.executor.observe(batch, async ({ trace, outputs }, l) => {
      const { logits, weights, choice, dispatch } = trace;
      const { experts, offsets, tokens } = dispatch;
      const sum = (sums[l] ??= new RoutingSum(experts));
      const routing = { logits_NE: logits.data, weights_NE: weights.data, ...choice };
      sum.add(routing, (token) => batch.segments[token] !== 0);
      const norm_E = (norms_LE[l] ??= new Float64Array(experts));
      for (let e = 0; e < experts; e++) {
        const sent = tokens.slice(offsets[e], offsets[e + 1]);
        const y = await outputs(e, sent);
        const hidden = y.length / Math.max(1, sent.length);
        sent.forEach((token, row) => {
          let square = 0;
          for (let c = row * hidden; c < (row + 1) * hidden; c++) square += (y[c] as number) ** 2;
          const weight = weights.data[token * experts + e] as number;
          norm_E[e] = (norm_E[e] as number) + Math.abs(weight) * Math.sqrt(square);
        });
      }
    });
  }
  return {
    activity: sums.map(({ counts_E }) => counts_E),
    gateMass: sums.map(({ mass_E }) => mass_E),
    outputNorm: norms_LE.map((norm_E, l) =>
      norm_E.map((norm, e) => norm / Math.max(1, sums[l]?.counts_E[e] ?? 0)),
    ),
  };
}

/** The ⌈share · E⌉ best experts of each layer stay; of equal ones the lower index. @returns those that go. */
export function removedExperts(ranking_LE: readonly ArrayLike<number>[], share: number): number[][] {
  return ranking_LE.map((values_E) => {
    const order = Array.from(values_E, (value, expert) => ({ value, expert }));
    order.sort((a, b) => b.value - a.value || a.expert - b.expert);
    // 0.7 of 10 is 7, whatever 0.7 · 10 rounds to.
    const kept = Math.ceil(share * order.length - 1e-9);
    return order
      .slice(kept)
      .map(({ expert }) => expert)
      .sort((a, b) => a - b);
  });
}

/** A model of which experts can be taken away and given back; nothing of the model itself changes. */
export class ThinnedModel {
  readonly #executor: Executor;
  readonly #mode: RemovalMode;
  readonly #buffers: readonly Float32Array[];
  #removed: readonly (readonly number[])[] = [];

  constructor(model: LoadedModel, mode: RemovalMode) {
    this.#mode = mode;
    const shapes = routerShapes(model.plan);
    this.#buffers = shapes.map(({ experts }) => new Float32Array(experts));
    this.remove(shapes.map(() => []));
    const base = routingOf(model.session, 'inference');
    invariant(base.buffers.length === 0, 'a published router is thinned');
    const session: MethodSession = {
      ...model.session,
      buffer: (_, layer) => this.#buffers[layer] ?? new Float32Array(0),
      inferenceRouting: {
        buffers: ['kept'],
        scores: (logits_NE) => base.scores(logits_NE, {}),
        weights: (logits_NE, multiplicity_NE, { kept }) => {
          invariant(kept !== undefined, 'the buffer of the routing');
          return mode === 'reroute'
            ? base.weights(op.add(logits_NE, kept), multiplicity_NE, {})
            : op.mul(base.weights(logits_NE, multiplicity_NE, {}), kept);
        },
        choose: chooseBy(shapes, (layer) => ({
          k: shapeOf(shapes, layer).expertsPerToken,
          always: [],
          overlap: 'union',
          excluded: mode === 'reroute' ? (this.#removed[layer] ?? []) : [],
        })),
      },
    };
    const { plan, store, runtime, arena, kernels } = model;
    this.#executor = new Executor({ plan, store, session, runtime, arena, kernels });
  }

  /** Takes experts away, by MoE layer; those taken before come back. */
  remove(experts: readonly (readonly number[])[]): void {
    this.#removed = experts;
    const [there, gone] = this.#mode === 'reroute' ? [0, -1e30] : [1, 0];
    this.#buffers.forEach((buffer, l) => {
      buffer.fill(there);
      for (const e of experts[l] ?? []) buffer[e] = gone;
    });
  }

  /** Mean cross-entropy of the trained tokens. */
  async loss(batches: Iterable<MicroBatch>): Promise<number> {
    let [sum, tokens] = [0, 0];
    for (const batch of batches) {
      const { lossSum, trainedTokens } = await this.#executor.evaluate(batch);
      sum += lossSum;
      tokens += trainedTokens;
      // Lets signals in.
      await new Promise(setImmediate);
    }
    return sum / tokens;
  }
}

/** One line of the study. */
export interface StudyRow {
  readonly criterion: ExpertCriterion;
  /** Share of the experts of each layer that stay. */
  readonly keep: number;
  /** Experts of a layer that stay. */
  readonly keptExperts: number;
  readonly loss: number;
}

/** A whole study. */
export interface ExpertStudy {
  /** Loss with all experts. */
  readonly baseLoss: number;
  readonly rows: readonly StudyRow[];
}

/**
 * Ranks experts on `ranked` and measures the loss on `measured` for every criterion and share.
 * @param show called before each measurement.
 */
export async function studyExperts(
  model: LoadedModel,
  batches: { readonly ranked: readonly MicroBatch[]; readonly measured: readonly MicroBatch[] },
  shares: readonly number[],
  mode: RemovalMode,
  show: (what: string) => void,
): Promise<ExpertStudy> {
  const perToken = Math.max(...routerShapes(model.plan).map(({ expertsPerToken }) => expertsPerToken));
  show('ranking experts');
  const ranking = await rankExperts(model, batches.ranked);
  const thinned = new ThinnedModel(model, mode);
  const baseLoss = await thinned.loss(batches.measured);
  const rows: StudyRow[] = [];
  for (const criterion of expertCriteria) {
    for (const keep of shares) {
      const removed = removedExperts(ranking[criterion], keep);
      const experts = ranking[criterion][0]?.length ?? 0;
      const keptExperts = experts - (removed[0]?.length ?? 0);
      invariant(keptExperts >= perToken || mode === 'zero', 'enough experts stay for a token');
      show(`${criterion}, ${keptExperts} of ${experts} experts`);
      thinned.remove(removed);
      rows.push({ criterion, keep, keptExperts, loss: await thinned.loss(batches.measured) });
    }
  }
  invariant(moeLayerIndices(model.plan).length === ranking.activity.length, 'every MoE layer is ranked');
  return { baseLoss, rows };
}
