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
    const { inverseFrequencies, tableScale = 1, long } = rope;
    const frequencies_D = this.#builder.constant({
      dtype: 'float32',
      shape: [inverseFrequencies.length],
      data: inverseFrequencies,
    });
    const places_S1 = op.unsqueeze(op.cast(this.#places_S, 'float32'), { axes: [1] });
    const angle_SD = op.mul(places_S1, frequencies_D);
    const reached = op.sizeOf(angle_SD, [SEQUENCE], 'float32');
    const scale =
      long === undefined
        ? tableScale
        : op.where(
            op.greater(reached, long.above),
            this.#builder.constant(long.tableScale),
            this.#builder.constant(tableScale),
          );
    const made = { cos: op.mul(op.cos(angle_SD), scale), sin: op.mul(op.sin(angle_SD), scale) };
    this.#rotations.set(rope, made);
    return made;
  }
}
