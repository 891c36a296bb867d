import { expect, test } from 'vitest';
import { balancedTable, randomTable } from './token-table.ts';

const shape = { vocabulary: 500, experts: 8, k: 2 };

/** How many tokens of the data each expert sees. */
function loads(table_VK: Int32Array, counts_V: Uint32Array): number[] {
  const load = new Array<number>(shape.experts).fill(0);
  table_VK.forEach((expert, at) => {
    load[expert] = (load[expert] ?? 0) + (counts_V[Math.floor(at / shape.k)] ?? 0);
  });
  return load;
}

/** Frequencies that fall as in a language; a third of the tokens does not occur. */
const counts_V = Uint32Array.from({ length: shape.vocabulary }, (_, id) =>
  id % 3 === 0 ? 0 : Math.ceil(2000 / (id + 1)),
);

test.each([
  ['random', randomTable(shape, 1, 'hash 0')],
  ['balanced', balancedTable(shape, counts_V, 1, 'hash 0')],
])('%s: a token has k different experts, and no expert is left out', (_, table_VK) => {
  expect(table_VK).toHaveLength(1000);
  expect(new Set(table_VK)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7]));
  for (let id = 0; id < shape.vocabulary; id++) expect(table_VK[2 * id]).not.toBe(table_VK[2 * id + 1]);
});

test('a table depends on seed and name alone', () => {
  const of = (seed: number, name: string) => balancedTable(shape, counts_V, seed, name);
  expect(of(1, 'hash 0')).toEqual(of(1, 'hash 0'));
  expect(of(2, 'hash 0')).not.toEqual(of(1, 'hash 0'));
  expect(of(1, 'hash 1')).not.toEqual(of(1, 'hash 0'));
});

test('balanced: experts see about as many tokens of the data, where a drawn table is far from it', () => {
  const spread = (load: readonly number[]) => Math.max(...load) - Math.min(...load);
  const drawn = loads(randomTable(shape, 1, 'hash 0'), counts_V);
  const balanced = loads(balancedTable(shape, counts_V, 1, 'hash 0'), counts_V);
  expect(spread(balanced)).toBeLessThan(10);
  expect(spread(drawn)).toBeGreaterThan(100);
});

test('worked by hand: the most frequent token has an expert of its own, the others share', () => {
  const table = balancedTable({ vocabulary: 4, experts: 2, k: 1 }, Uint32Array.of(10, 5, 4, 1), 3, 'x');
  const [first = 0] = table;
  expect([...table]).toEqual([first, 1 - first, 1 - first, 1 - first]);
});
