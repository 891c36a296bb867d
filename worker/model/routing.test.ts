import { expect, test } from 'vitest';
import { GraphBuilder } from '#worker/graph/index.ts';
import { runOnce } from '#worker/testing/index.ts';
import type { RouterPlan } from './decoder-plan.ts';
import type { ChoiceRule } from './routing-slots.ts';
import { chooseBy, plainRouting } from './routing.ts';
import { choiceStage } from './stages/choice.ts';

test('only experts of kept groups are chosen, and weights are those of all logits', async () => {
  const router: RouterPlan = {
    scoring: 'softmax',
    normalise: false,
    groups: { count: 2, kept: 1, best: 1 },
  };
  const routing = plainRouting([{ router, experts: 4, expertsPerToken: 2 }]);
  const builder = new GraphBuilder('gate');
  const logits = builder.input('logits', 'float32', [1, 4]);
  const multiplicity = builder.input('multiplicity', 'float32', [1, 4]);
  builder.output('scores', routing.scores(logits, {}));
  builder.output('weights', routing.weights(logits, multiplicity, {}));
  const values = { logits: [-1, -2, -3, -4], multiplicity: [1, 1, 0, 0] };
  const { results } = await runOnce(builder.build(), { values });
  const scores = Float32Array.from(results['scores']?.data ?? [], Number);
  // A mask of zeros on logits instead of on scores would prefer experts 2 and 3.
  expect([...routing.choose(scores, Int32Array.of(7), 0).chosen_NK]).toEqual([0, 1]);
  const weights = Array.from(results['weights']?.data ?? [], Number);
  [0.643914, 0.236883, 0, 0].forEach((value, e) => expect(weights[e]).toBeCloseTo(value, 6));
});

const plain = { always: [], overlap: 'union' } as const;
const published: RouterPlan = { scoring: 'softmax', normalise: false };
const groups = (kept: number, best: 1 | 2) => ({ ...published, groups: { count: 3, kept, best } });

const rules: readonly { title: string; router?: RouterPlan; rule: ChoiceRule }[] = [
  { title: 'the best', rule: { k: 2, ...plain } },
  { title: 'those of the best group', router: groups(1, 1), rule: { k: 2, ...plain } },
  { title: 'those of groups with the best pairs', router: groups(2, 2), rule: { k: 3, ...plain } },
  { title: 'others where kept groups hold too few', router: groups(1, 1), rule: { k: 3, ...plain } },
  { title: 'not the excluded ones', rule: { k: 2, ...plain, excluded: [1, 4] } },
  { title: 'some besides', rule: { k: 2, always: [0, 3], overlap: 'union' } },
  { title: 'some besides, twice', rule: { k: 2, always: [0, 3], overlap: 'double' } },
  { title: 'one alone', rule: { k: 0, always: [5], overlap: 'union' } },
  {
    title: 'by token, where it has experts',
    rule: { k: 2, ...plain, tokenExperts_VK: Int32Array.of(5, 4, -1, -1, 1, 0, -1, 2) },
  },
];

test.each(rules)('a graph chooses as the rule does: $title', async ({ router = published, rule }) => {
  const [tokens, experts] = [8, 6];
  const scores_NE = Float32Array.from({ length: tokens * experts }, (_, i) => ((i * 37) % 11) / 11);
  const ids_N = Int32Array.of(0, 1, 2, 3, 3, -1, 1, 0);
  const shape = { router, experts, expertsPerToken: 2 };
  const { chosen_NK, k, always, overlap } = chooseBy([shape], () => rule)(scores_NE, ids_N, 0);
  const want = Array.from(scores_NE, (_, at) => {
    const [token, expert] = [Math.floor(at / experts), at % experts];
    const isChosen = chosen_NK.subarray(token * k, (token + 1) * k).includes(expert);
    const counts = Number(isChosen) + Number(always.includes(expert));
    return ids_N[token] === -1 ? 0 : overlap === 'double' ? counts : Math.min(1, counts);
  });

  const values = {
    scores: [...scores_NE],
    visits: [...ids_N].map((id) => Number(id >= 0)),
    ids: [...ids_N].map((id) => Math.max(0, id)),
    tokenExperts: [...(rule.tokenExperts_VK ?? [])],
  };
  const graph = choiceStage(shape, rule);
  const { results } = await runOnce(graph, { shapes: { N: tokens, V: 4 }, values });
  expect(Array.from(results['multiplicity']?.data ?? [], Number)).toEqual(want);
});

test('a token without experts of its own goes where the router sends it', () => {
  const rule = { k: 1, ...plain, tokenExperts_VK: Int32Array.of(0, -1, 2) };
  const choose = chooseBy([{ router: published, experts: 3, expertsPerToken: 1 }], () => rule);
  const scores_NE = Float32Array.of(0, 1, 0, 0, 1, 0, 0, 1, 0);
  expect([...choose(scores_NE, Int32Array.of(2, 1, -1), 0).chosen_NK]).toEqual([2, 1, 1]);
});
