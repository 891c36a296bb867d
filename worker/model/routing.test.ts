import { expect, test } from 'vitest';
import { GraphBuilder } from '#worker/graph/index.ts';
import { runOnce } from '#worker/testing/index.ts';
import type { RouterPlan } from './decoder-plan.ts';
import { plainRouting } from './routing.ts';

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
