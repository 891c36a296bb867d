/** Tables that route by token: which experts a token goes to whatever the router reads, `[vocabulary × k]` for a layer. */
import { invariant } from '#core/contract/errors.ts';
import { topK } from '#worker/model/index.ts';
import { uniform } from '#worker/random/index.ts';

/** What a table is made for. */
interface TableShape {
  readonly vocabulary: number;
  readonly experts: number;
  /** Experts of each token, all different. */
  readonly k: number;
}

/** Experts drawn for each token by `seed` and `name` alone, without putting back. */
export function randomTable({ vocabulary, experts, k }: TableShape, seed: number, name: string): Int32Array {
  const table_VK = new Int32Array(vocabulary * k);
  const drawn = uniform(seed, name, vocabulary * k);
  const order = Int32Array.from({ length: experts }, (_, expert) => expert);
  for (let at = 0; at < table_VK.length; at++) {
    // The first places of a shuffle; what earlier tokens left in `order` is as good a start as any.
    const slot = at % k;
    const other = slot + Math.floor((drawn[at] as number) * (experts - slot));
    [order[slot], order[other]] = [order[other] as number, order[slot] as number];
    table_VK[at] = order[slot];
  }
  return table_VK;
}

/**
 * The balanced hash of Roller et al. 2021 (arXiv 2106.04426): tokens by falling frequency, each to the experts that have the
 * least so far, so that all experts see about as many tokens of the data. Tokens that do not occur there are drawn.
 * @param counts_V how often each token occurs.
 */
export function balancedTable(
  shape: TableShape,
  counts_V: Uint32Array,
  seed: number,
  name: string,
): Int32Array {
  const { vocabulary, experts, k } = shape;
  invariant(counts_V.length === vocabulary, `${counts_V.length} counts for ${vocabulary} tokens`);
  const table_VK = randomTable(shape, seed, name);
  const lot_V = uniform(seed, `${name} order`, vocabulary);
  const seen = [...counts_V.keys()].filter((id) => counts_V[id] !== 0);
  const by = (values: Uint32Array | Float64Array, id: number) => values[id] as number;
  seen.sort((a, b) => by(counts_V, b) - by(counts_V, a) || by(lot_V, a) - by(lot_V, b));
  // Less than one token each, so that lots decide between experts that have as many.
  const room_E = Float32Array.from(uniform(seed, `${name} experts`, experts), (lot) => lot / 2);
  for (const id of seen) {
    const emptiest = topK(room_E, 1, experts, k);
    table_VK.set(emptiest, id * k);
    for (const expert of emptiest) room_E[expert] = (room_E[expert] as number) - by(counts_V, id);
  }
  return table_VK;
}
