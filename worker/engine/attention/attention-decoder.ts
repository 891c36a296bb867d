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

  /** An empty cache for `rows` rows of at most `capacity` tokens. */
  open(rows: number, capacity: number): KeyValueCache {
    const { keyHeads, valueHeads } = headWidths(this.#plan);
    return new KeyValueCache(this.#parts.workspace, rows, capacity, keyHeads, valueHeads);
  }

  /**
   * New tokens `h` [N, hidden] through the attention; their keys and values join the cache.
   * @param tables positions of the tokens as [1, N], and `cos` and `sin` where they enter.
   */
  async decode(
    h: ArenaTensor,
    tables: Tensors,
    spans: readonly RowSpan[],
    cache: KeyValueCache,
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
      const { attention } = programs.of('inference');
      const heads = await attention.headsOnly(this.#index, dtypes);
      heads.run(
        { ...tables, h, ...this.#weights.views('heads') },
        { queryHeads, keyHeads, valueHeads, ...gate },
      );
      for (const { row, from, to } of spans)
        cache.append(row, workspace.rows(keyHeads, from, to), workspace.rows(valueHeads, from, to));
      if (isStep(spans, cache)) {
        await this.#step({ h, queryHeads, ...gate }, cache, out);
        return;
      }
      const mixed = workspace.tensor(tokens, widths.mixed);
      for (const span of spans) await this.#mix(queryHeads, mixed, span, cache);
      const output = await attention.output(this.#index, dtypes);
      output.run({ h, mixed, ...gate, ...this.#weights.views('attentionOutput') }, { out });
    });
    return out;
  }

  /** Mixing and output for one token of each row, which are all in the cache. */
  async #step(given: Tensors, cache: KeyValueCache, out: ArenaTensor): Promise<void> {
    const { programs, workspace } = this.#parts;
    const { window = Infinity } = this.#plan;
    const { lengths } = cache;
    const lastKey = Math.max(...lengths);
    const firstKey = Math.max(0, Math.min(...lengths) - window);
    const keys = lastKey - firstKey;
    const mask = workspace.tensor(lengths.length, 1, 1, keys);
    for (const [row, length] of lengths.entries())
      this.#writeMask(mask.data.subarray(row * keys, (row + 1) * keys), length - 1 - firstKey, keys, window);
    const step = await programs.of('inference').attention.step(this.#index, this.#weights.dtypes());
    step.run(
      {
        ...given,
        ...cache.ofAllRows(firstKey, lastKey),
        mask,
        ...this.#weights.views('mix'),
        ...this.#weights.views('attentionOutput'),
      },
      { out },
    );
  }

  /** Mixes values for the queries of one row, whose keys are all in the cache, a block at a time. */
  async #mix(queries: ArenaTensor, mixed: ArenaTensor, { row, from, to }: RowSpan, cache: KeyValueCache) {
    const { programs, workspace } = this.#parts;
    const { window = Infinity } = this.#plan;
    const length = cache.lengths[row] ?? 0;
    const mix = await programs.of('inference').attention.mix(this.#index, this.#weights.dtypes());
    for (let start = from; start < to; start += QUERY_BLOCK) {
      const end = Math.min(to, start + QUERY_BLOCK);
      const place = length - (to - start);
      const lastKey = place + (end - start);
      const firstKey = Math.max(0, place - window + 1);
      await workspace.scratch(() => {
        const mask = workspace.tensor(1, 1, end - start, lastKey - firstKey);
        this.#writeMask(mask.data, place - firstKey, lastKey - firstKey, window);
        mix.run(
          {
            queryHeads: workspace.rows(queries, start, end),
            ...cache.ofRow(row, firstKey, lastKey),
            mask,
            ...this.#weights.views('mix'),
          },
          { mixed: workspace.rows(mixed, start, end) },
        );
      });
    }
  }

  #writeMask(mask: Float32Array, offset: number, keys: number, window: number): void {
    writeCausalMask(mask, offset, keys, window);
    if (isConvolution(this.#plan)) writeLags(mask, offset, keys);
  }

  #gateTensor(tokens: number): Tensors {
    const { gateProjection } = headWidths(this.#plan);
    return gateProjection === undefined
      ? {}
      : { gateProjection: this.#parts.workspace.tensor(tokens, gateProjection) };
  }
}

/** Whether the spans are one token of each row of the cache. */
function isStep(spans: readonly RowSpan[], { lengths }: KeyValueCache): boolean {
  return spans.length === lengths.length && spans.every(({ from, to }) => to - from === 1);
}
