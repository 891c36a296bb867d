/** The attention half of a layer for new tokens of rows whose earlier ones are in a cache. */
import { invariant } from '#core/contract/errors.ts';
import { headWidths, isConvolution, type AttentionPlan } from '#worker/model/index.ts';
import type { Tensors } from '#worker/runtime/index.ts';
import { QUERY_BLOCK } from './attention-runner.ts';
import { writeCausalMask, writeLags } from './attention-mask.ts';
import { KeyValueCache } from './key-value-cache.ts';
import type { LayerParts } from '../layer-parts.ts';
import type { LayerWeights } from '../weights/layer-weights.ts';
import type { ArenaTensor } from '../workspace.ts';

/** The new tokens `[from, to)` of the hidden state, which go on one row. */
export interface RowSpan {
  readonly row: number;
  readonly from: number;
  readonly to: number;
}

/** Decodes with the attention of decoder layer `index`. */
export class AttentionDecoder {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #index: number;
  readonly #plan: AttentionPlan;

  constructor(parts: LayerParts, weights: LayerWeights, index: number) {
    this.#parts = parts;
    this.#weights = weights;
    this.#index = index;
    const layer = parts.plan.layers[index];
    invariant(layer !== undefined, `layer ${index} of ${parts.plan.layers.length}`);
    this.#plan = layer.attention;
  }

  /** An empty cache for each of `rows` rows of at most `capacity` tokens. */
  open(rows: number, capacity: number): KeyValueCache[] {
    const { keyHeads, valueHeads } = headWidths(this.#plan);
    return Array.from(
      { length: rows },
      () => new KeyValueCache(this.#parts.workspace, capacity, keyHeads, valueHeads),
    );
  }

  /**
   * New tokens `h` [N, hidden] through the attention; their keys and values join the caches.
   * @param tables positions of the tokens as [1, N], and `cos` and `sin` where they enter.
   */
  async decode(
    h: ArenaTensor,
    tables: Tensors,
    spans: readonly RowSpan[],
    caches: readonly KeyValueCache[],
  ): Promise<ArenaTensor> {
    const { programs, workspace } = this.#parts;
    const dtypes = this.#weights.dtypes();
    const [tokens = 0] = h.shape;
    const widths = headWidths(this.#plan);
    const out = workspace.tensor(...h.shape);
    await workspace.scratch(async () => {
      const queryHeads = workspace.tensor(tokens, widths.queryHeads);
      const keyHeads = workspace.tensor(tokens, widths.keyHeads);
      const valueHeads = workspace.tensor(tokens, widths.valueHeads);
      const gate = this.#gateTensor(tokens);
      const heads = await programs.of('inference').attention.headsOnly(this.#index, dtypes);
      heads.run(
        { ...tables, h, ...this.#weights.views('heads') },
        { queryHeads, keyHeads, valueHeads, ...gate },
      );
      const mixed = workspace.tensor(tokens, widths.mixed);
      for (const { row, from, to } of spans) {
        const cache = caches[row];
        invariant(cache !== undefined, `row ${row} of ${caches.length}`);
        cache.append(workspace.rows(keyHeads, from, to), workspace.rows(valueHeads, from, to));
        await this.#mix(queryHeads, mixed, { row, from, to }, cache);
      }
      const output = await programs.of('inference').attention.output(this.#index, dtypes);
      output.run({ h, mixed, ...gate, ...this.#weights.views('attentionOutput') }, { out });
    });
    return out;
  }

  /** Mixes values for the queries of one row, whose keys are all in its cache, a block at a time. */
  async #mix(queries: ArenaTensor, mixed: ArenaTensor, { from, to }: RowSpan, cache: KeyValueCache) {
    const { programs, workspace } = this.#parts;
    const { window = Infinity } = this.#plan;
    const mix = await programs.of('inference').attention.mix(this.#index, this.#weights.dtypes());
    for (let start = from; start < to; start += QUERY_BLOCK) {
      const end = Math.min(to, start + QUERY_BLOCK);
      const place = cache.length - (to - start);
      const lastKey = place + (end - start);
      const firstKey = Math.max(0, place - window + 1);
      await workspace.scratch(() => {
        const mask = workspace.tensor(1, 1, end - start, lastKey - firstKey);
        writeCausalMask(mask.data, place - firstKey, lastKey - firstKey, window);
        if (isConvolution(this.#plan)) writeLags(mask.data, place - firstKey, lastKey - firstKey);
        mix.run(
          {
            queryHeads: workspace.rows(queries, start, end),
            ...cache.view(firstKey, lastKey),
            mask,
            ...this.#weights.views('mix'),
          },
          { mixed: workspace.rows(mixed, start, end) },
        );
      });
    }
  }

  #gateTensor(tokens: number): Tensors {
    const { gateProjection } = headWidths(this.#plan);
    return gateProjection === undefined
      ? {}
      : { gateProjection: this.#parts.workspace.tensor(tokens, gateProjection) };
  }
}
