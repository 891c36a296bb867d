/** Decoding token by token: rows go on from what their caches hold. */
import { invariant } from '#core/contract/errors.ts';
import type { DecoderPlan, Mode } from '#worker/model/index.ts';
import type { Tensors } from '#worker/runtime/index.ts';
import type { RowSpan } from './attention/attention-decoder.ts';
import { checkTokenIds } from './batch.ts';
import type { EmbeddingRunner } from './embedding-runner.ts';
import type { HeadRunner } from './head/head-runner.ts';
import type { InputTables } from './attention/input-tables.ts';
import type { KeyValueCache } from './attention/key-value-cache.ts';
import type { LayerRunner } from './layer-runner.ts';
import { gateFeatures, mixRows, type OutputMixture } from './experts/output-mixture.ts';
import type { ArenaTensor, Workspace } from './workspace.ts';

/** Tokens of several rows that go through the model together; a longer row goes alone. */
const PASS_TOKENS = 1024;

/** Rows in their order, as many together as a pass takes. */
function* passes(rows: readonly Int32Array[]) {
  let spans: RowSpan[] = [];
  let ids: number[] = [];
  for (const [row, own] of rows.entries()) {
    invariant(own.length > 0, 'a row is fed at least one token');
    if (ids.length > 0 && ids.length + own.length > PASS_TOKENS) {
      yield { spans, ids: Int32Array.from(ids) };
      [spans, ids] = [[], []];
    }
    spans.push({ row, from: ids.length, to: ids.length + own.length });
    for (const id of own) ids.push(id);
  }
  if (spans.length > 0) yield { spans, ids: Int32Array.from(ids) };
}

/** What a decoder runs with: the parts of an executor. */
interface DecoderParts {
  readonly plan: DecoderPlan;
  readonly workspace: Workspace;
  readonly tables: InputTables;
  readonly embedding: EmbeddingRunner;
  readonly layers: readonly LayerRunner[];
  readonly head: HeadRunner;
  /** Null: the model predicts as it is. */
  readonly mixture: OutputMixture | null;
}

/** One way through the model, with what its attention needs of earlier tokens: a cache for each layer. */
interface Stream {
  readonly mode: Mode;
  readonly caches: readonly KeyValueCache[];
}

/** Rows that grow. Good inside the `Executor.decode` that made it. */
export class Decoder {
  readonly #parts: DecoderParts;
  readonly #streams: readonly Stream[];
  readonly #capacity: number;

  constructor(parts: DecoderParts, rows: number, capacity: number) {
    this.#parts = parts;
    const modes: readonly Mode[] = parts.mixture === null ? ['inference'] : ['inference', 'base'];
    this.#streams = modes.map((mode) => ({
      mode,
      caches: parts.layers.map((layer) => layer.openCache(rows, capacity)),
    }));
    this.#capacity = capacity;
  }

  /** Tokens seen of each row: every cache counts the same. */
  get #lengths(): Readonly<Int32Array> {
    const cache = this.#streams[0]?.caches[0];
    invariant(cache !== undefined, 'a decoder has a layer');
    return cache.lengths;
  }

  /** Adds tokens to each row, none of them empty; returns the logits [rows × vocabulary] of what follows their last. */
  async feed(rows: readonly Int32Array[]): Promise<Float32Array> {
    invariant(rows.length === this.#lengths.length, `${rows.length} lists for ${this.#lengths.length} rows`);
    const width = this.#parts.plan.vocabularySize;
    const logits = new Float32Array(rows.length * width);
    for (const { spans, ids } of passes(rows)) {
      logits.set(await this.#run(ids, spans), (spans[0]?.row ?? 0) * width);
    }
    return logits;
  }

  /** Adds one token to each row, `ids` [rows]; returns the logits [rows × vocabulary] of what follows. */
  async step(ids: Int32Array): Promise<Float32Array> {
    invariant(ids.length === this.#lengths.length, `${ids.length} tokens for ${this.#lengths.length} rows`);
    return this.#run(
      ids,
      Array.from(ids, (_, row) => ({ row, from: row, to: row + 1 })),
    );
  }

  /** Goes on with these rows only, in ascending order; they are numbered anew. */
  keep(rows: readonly number[]): void {
    for (const { caches } of this.#streams) for (const cache of caches) cache.keep(rows);
  }

  async #run(ids: Int32Array, spans: readonly RowSpan[]): Promise<Float32Array> {
    const { plan, workspace, tables, head, mixture } = this.#parts;
    checkTokenIds({ inputIds: ids, labels: new Int32Array() }, plan.vocabularySize);
    return workspace.scratch(async () => {
      const positions = spans.flatMap(({ row, from, to }) =>
        Array.from({ length: to - from }, (_, i) => (this.#lengths[row] ?? 0) + i),
      );
      const inputs = tables.ofPositions(plan, positions, this.#capacity);
      const last = Int32Array.from(spans, ({ to }) => to - 1);
      const [used, base] = this.#streams;
      invariant(used !== undefined, 'a decoder has a stream');
      const logits = await head.logits(await this.#through(used, ids, inputs, spans), last);
      if (mixture !== null && base !== undefined) {
        const h = await this.#through(base, ids, inputs, spans);
        const features = gateFeatures(await head.rows(h, last), plan.hiddenSize);
        mixRows(mixture.shares(features, 'inference'), await head.logits(h, last), logits);
      }
      return logits;
    });
  }

  async #through(
    { mode, caches }: Stream,
    ids: Int32Array,
    inputs: readonly Tensors[],
    spans: readonly RowSpan[],
  ): Promise<ArenaTensor> {
    const { workspace, embedding, layers } = this.#parts;
    const h = embedding.forward({ inputIds: ids });
    for (const [index, layer] of layers.entries()) {
      await workspace.scratch(async () => {
        const cache = caches[index];
        invariant(cache !== undefined, `layer ${index} has no cache`);
        const out = await layer.decode(h, ids, inputs[index] ?? {}, spans, cache, mode);
        h.data.set(out.data);
      });
    }
    return h;
  }
}
