import { expect, test } from 'vitest';
import type { LayerUsage, MethodSession } from '#worker/model/index.ts';
import { contextOf, noUsage, passThrough, scoresOf, tokenIds_N } from './f0.fixture.ts';
import { startMethod } from './index.ts';

const at = { step: 0, totalSteps: 4, microBatch: 0, microBatches: 1 };

/** Usage in which `real` choices count and `all` has padding besides. */
function usageOf(real: readonly number[], all: readonly number[] = real): LayerUsage {
  return { ...noUsage, hard_E: Uint32Array.from(real), hardAll_E: Uint32Array.from(all) };
}

const biasOf = (session: MethodSession) => [...(session.routerState().bias_LE ?? [])];

function start(options: Record<string, unknown>, k = 1, normalise = false): MethodSession {
  return startMethod('loss-free-balancing', options, contextOf(k, normalise));
}

test('three steps by the counts of each: the bias swings round an even load', async () => {
  const session = start({ biasSpeed: 0.1, score: 'sigmoid' });
  const seen = [];
  for (let step = 0; step < 3; step++) {
    const { chosen_NK } = session.routing.choose(await scoresOf(session), tokenIds_N, 0);
    const counts = [0, 1, 2].map((e) => chosen_NK.filter((chosen) => chosen === e).length);
    session.afterMicroBatch([usageOf(counts)], { ...at, step });
    session.afterStep({ ...at, step });
    seen.push({ counts, bias: biasOf(session).map((value) => Number(value.toFixed(6)) + 0) });
  }
  expect(seen).toEqual([
    { counts: [1, 1, 0], bias: [-0.1, -0.1, 0.1] },
    { counts: [1, 0, 1], bias: [-0.2, 0, 0] },
    { counts: [0, 2, 0], bias: [-0.1, -0.1, 0.1] },
  ]);
});

test('the bias chooses, gate weights are those of the score alone', async () => {
  const context = contextOf(1);
  const session = startMethod('loss-free-balancing', {}, context);
  session.restore({ bias: [[-1, -1, 1]] });
  // Both tokens visit expert 2, whose probabilities without bias are 0.157881 and 0.254629.
  const { y } = await passThrough(session, context);
  [-0.5 * 0.157881, 0.5 * 0.157881, 0.5 * 0.254629, -0.5 * 0.254629].forEach((value, i) =>
    expect(y.flat()[i]).toBeCloseTo(value, 5),
  );
});

test('sigmoid scores, divided by their sum', async () => {
  const sigmoid = (z: number) => 1 / (1 + Math.exp(-z));
  const context = contextOf(2);
  const session = startMethod('loss-free-balancing', { score: 'sigmoid', normalise: 'yes' }, context);
  const [a = NaN, b = NaN] = await scoresOf(session);
  expect(a).toBeCloseTo(sigmoid(0.9), 6);
  expect(b).toBeCloseTo(sigmoid(0.4), 6);
  // Token 0 visits experts 0 and 1 with outputs [1, 0] and [2, 0].
  const { y } = await passThrough(session, context);
  expect(y[0]?.[0]).toBeCloseTo((a + 2 * b) / (a + b), 5);
});

test('score and normalisation are those of the checkpoint unless told otherwise', async () => {
  const context = contextOf(2, true);
  const [own, plain] = [
    await passThrough(startMethod('loss-free-balancing', {}, context), context),
    await passThrough(startMethod('full', {}, context), context),
  ];
  expect(own).toEqual(plain);
});

test('counts of all micro-batches of a step, without padding; equal ones leave the bias', () => {
  const session = start({ biasSpeed: 0.5 });
  session.afterMicroBatch([usageOf([3, 0, 0], [3, 9, 0])], at);
  session.afterMicroBatch([usageOf([0, 2, 1])], at);
  session.afterStep(at);
  // Sums 3, 2, 1; the one at the mean stays.
  expect(biasOf(session)).toEqual([-0.5, 0, 0.5]);
  session.afterMicroBatch([usageOf([2, 2, 2])], at);
  session.afterStep(at);
  expect(biasOf(session)).toEqual([-0.5, 0, 0.5]);
});

test('a restored session forgets the counts of a step that was given up', () => {
  const session = start({ biasSpeed: 0.5 });
  const saved = JSON.parse(JSON.stringify(session.save())) as unknown;
  session.afterMicroBatch([usageOf([3, 0, 0])], at);
  session.restore(saved);
  session.afterStep(at);
  expect(biasOf(session)).toEqual([0, 0, 0]);
});

test('a bias file is where it starts, and auxiliary losses may be added', () => {
  const context = { ...contextOf(1), readBias: () => [[0.25, 0, -0.25]] };
  const session = startMethod(
    'loss-free-balancing',
    { biasFile: 'moe_bias_states.json', zLossCoefficient: 0.001 },
    context,
  );
  expect(biasOf(session)).toEqual([0.25, 0, -0.25]);
  expect(session.losses.map(({ name }) => name)).toEqual(['router z']);
});
