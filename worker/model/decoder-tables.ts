/** What attention reads beside the hidden state, computed inside the graph of a whole decoder. */
import { op, type GraphBuilder, type Value } from '#worker/graph/index.ts';
import { isConvolution } from './attention-parameters.ts';
import type { AttentionPlan, RopePlan } from './decoder-plan.ts';

/** What a score has added where a query may not look: finite, so that a query that may look nowhere stays a number. */
export const HIDDEN_SCORE = -1e9;

/** Symbolic sizes of a batch. */
export const BATCH = 'batch';
/** See `BATCH`. */
export const SEQUENCE = 'sequence';

/** Makes the tables of attention from `attention_mask` [batch, sequence], 1 for a token and 0 for padding. */
export class DecoderTables {
  /** The place of each token in its row, [batch, sequence]. */
  readonly positions: Value;
  readonly #builder: GraphBuilder;
  readonly #places_S: Value;
  readonly #isToken_B11S: Value;
  readonly #masks = new Map<string, Value>();
  readonly #rotations = new Map<RopePlan, { readonly cos: Value; readonly sin: Value }>();

  constructor(builder: GraphBuilder, attentionMask_BS: Value) {
    this.#builder = builder;
    this.#places_S = op.count(attentionMask_BS, SEQUENCE);
    this.positions = op.expand(op.unsqueeze(this.#places_S, { axes: [0] }), [BATCH, SEQUENCE]);
    this.#isToken_B11S = op.unsqueeze(op.greater(attentionMask_BS, 0), { axes: [1, 2] });
  }

  /** What a layer with `attention` reads, by name. */
  of(attention: AttentionPlan): Readonly<Record<string, Value>> {
    const { rope } = attention;
    return {
      positions: this.positions,
      mask: this.#mask(attention),
      ...(rope !== null && this.#rotation(rope)),
    };
  }

  /**
   * [batch, 1, sequence, sequence]: a query sees the tokens of its row up to itself, within its window; where it may look, a
   * convolution has how many places back that is.
   */
  #mask(attention: AttentionPlan): Value {
    const { window } = attention;
    const lags = isConvolution(attention);
    const key = `${window} ${lags}`;
    const known = this.#masks.get(key);
    if (known !== undefined) return known;
    const [query_S1, key_1S] = [
      op.unsqueeze(this.#places_S, { axes: [1] }),
      op.unsqueeze(this.#places_S, { axes: [0] }),
    ];
    const lag_SS = op.sub(query_S1, key_1S);
    const isBefore_SS = op.greaterOrEqual(lag_SS, 0);
    const isNear_SS = window === undefined ? isBefore_SS : op.and(isBefore_SS, op.less(lag_SS, window));
    const seen = lags ? op.cast(lag_SS, 'float32') : this.#builder.constant(0);
    const mask = op.where(op.and(this.#isToken_B11S, isNear_SS), seen, HIDDEN_SCORE);
    this.#masks.set(key, mask);
    return mask;
  }

  /** Tables of `ropeTables` for the positions of the batch. */
  #rotation(rope: RopePlan): { readonly cos: Value; readonly sin: Value } {
    const known = this.#rotations.get(rope);
    if (known !== undefined) return known;
    const { inverseFrequencies } = rope;
    const frequencies_D = this.#builder.constant({
      dtype: 'float32',
      shape: [inverseFrequencies.length],
      data: inverseFrequencies,
    });
    const places_S1 = op.unsqueeze(op.cast(this.#places_S, 'float32'), { axes: [1] });
    const angle_SD = op.mul(places_S1, frequencies_D);
    const scale = this.#tableScale(rope, op.sizeOf(angle_SD, [SEQUENCE], 'float32'));
    const made = { cos: op.mul(op.cos(angle_SD), scale), sin: op.mul(op.sin(angle_SD), scale) };
    this.#rotations.set(rope, made);
    return made;
  }

  /** What multiplies cos and sin of rows that reach `reached` positions. */
  #tableScale({ tableScale = 1, long, mostPositions: most }: RopePlan, reached: Value): number | Value {
    const builder = this.#builder;
    if (most !== undefined) {
      // A file has no way to refuse a row but to read beyond a tensor, which is an error with the name of the node.
      return builder.scope(`rowsOfAtMost${most}Tokens`, () => {
        const beyond = op.cast(op.div(op.sub(reached, 1), most), 'int64');
        return op.gather(builder.constant({ dtype: 'float32', shape: [1], data: [tableScale] }), beyond, {
          axis: 0,
        });
      });
    }
    if (long === undefined) return tableScale;
    return op.where(
      op.greater(reached, long.above),
      builder.constant(long.tableScale),
      builder.constant(tableScale),
    );
  }
}
