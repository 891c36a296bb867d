/** Which token goes to which expert, sorted so that each expert's tokens lie together. */
import type { Choice } from '#worker/model/index.ts';

/** Pairs of token and expert, sorted by expert, then token. */
export interface Dispatch {
  readonly experts: number;
  /** Token of each pair. */
  readonly tokens: Int32Array;
  /** First pair of each expert, and the number of pairs at the end: `[experts + 1]`. */
  readonly offsets: Int32Array;
  /** How often each expert counts for each token, `[tokens × experts]`. */
  readonly multiplicity_NE: Float32Array;
  /** The token of each row; −1: it visits no expert. */
  readonly ids_N: Int32Array;
}

/**
 * Sorts the choice of a layer.
 * @param ids_N the token of each row; −1: it visits no expert.
 * @param multiplicity_NE is overwritten.
 */
export function dispatchTokens(
  choice: Choice,
  experts: number,
  ids_N: Int32Array,
  multiplicity_NE: Float32Array,
): Dispatch {
  multiplicity_NE.fill(0);
  for (let token = 0; token < ids_N.length; token++) {
    if (ids_N[token] === -1) continue;
    const base = token * experts;
    for (let slot = 0; slot < choice.k; slot++) {
      const expert = choice.chosen_NK[token * choice.k + slot] as number;
      if (expert >= 0) multiplicity_NE[base + expert] = 1;
    }
    for (const expert of choice.always) {
      const at = base + expert;
      multiplicity_NE[at] = choice.overlap === 'double' ? (multiplicity_NE[at] as number) + 1 : 1;
    }
  }
  const offsets = new Int32Array(experts + 1);
  for (let at = 0; at < multiplicity_NE.length; at++) {
    if (multiplicity_NE[at] !== 0) offsets[(at % experts) + 1] = (offsets[(at % experts) + 1] as number) + 1;
  }
  for (let e = 0; e < experts; e++) offsets[e + 1] = (offsets[e + 1] as number) + (offsets[e] as number);
  const sorted = new Int32Array(offsets[experts] as number);
  const next = offsets.slice(0, experts);
  for (let at = 0; at < multiplicity_NE.length; at++) {
    if (multiplicity_NE[at] === 0) continue;
    const e = at % experts;
    sorted[next[e] as number] = Math.floor(at / experts);
    next[e] = (next[e] as number) + 1;
  }
  return { experts, tokens: sorted, offsets, multiplicity_NE, ids_N };
}

/** Picks the entry of each pair from a `[tokens × experts]` matrix. */
export function gatherPairs(dispatch: Dispatch, matrix_NE: Float32Array, out: Float32Array): void {
  forEachPair(dispatch, (pair, at) => {
    out[pair] = matrix_NE[at] as number;
  });
}

/** Puts the value of each pair into a `[tokens × experts]` matrix that is zero elsewhere. */
export function scatterPairs(dispatch: Dispatch, values: Float32Array, matrix_NE: Float32Array): void {
  matrix_NE.fill(0);
  forEachPair(dispatch, (pair, at) => {
    matrix_NE[at] = values[pair] as number;
  });
}

/** Experts with tokens, and their range of pairs. */
export function* busyExperts({ experts, offsets }: Dispatch) {
  for (let expert = 0; expert < experts; expert++) {
    const [from = 0, to = 0] = [offsets[expert], offsets[expert + 1]];
    if (from < to) yield { expert, from, to };
  }
}

/** Tokens that visit experts, but not this one; in order. */
export function tokensElsewhere(dispatch: Dispatch, expert: number): Int32Array {
  const { experts, ids_N, multiplicity_NE } = dispatch;
  const elsewhere = new Int32Array(ids_N.length);
  let count = 0;
  for (let token = 0; token < ids_N.length; token++) {
    if (ids_N[token] !== -1 && multiplicity_NE[token * experts + expert] === 0) elsewhere[count++] = token;
  }
  return elsewhere.subarray(0, count);
}

function forEachPair(dispatch: Dispatch, visit: (pair: number, at: number) => void): void {
  const { experts, offsets, tokens } = dispatch;
  for (let e = 0; e < experts; e++) {
    for (let pair = offsets[e] as number; pair < (offsets[e + 1] as number); pair++) {
      visit(pair, (tokens[pair] as number) * experts + e);
    }
  }
}
