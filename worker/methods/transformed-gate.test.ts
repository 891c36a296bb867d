import { expect, test } from 'vitest';
import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder, gradient, op } from '#worker/graph/index.ts';
import { learnedLogits, withAdditions } from '#worker/model/index.ts';
import { runOnce } from '#worker/testing/index.ts';
import { contextOf, logits_NE } from './f0.fixture.ts';
import { startMethod } from './index.ts';

/** `softmax` of the transformed logits of two tokens, and the derivative of the first row by the temperature's log. */
async function gate(options: Record<string, unknown>, temperature: number) {
  const { additions } = startMethod('transformed-gate', options, contextOf(1));
  invariant(additions?.learnedGate, 'the method adds a gate');
  const builder = new GraphBuilder('gate');
  const logits = builder.input('logits', 'float32', [2, 3]);
  const weight = (role: string, shape: readonly number[]) => builder.input(role, 'float32', shape);
  builder.output('p', op.softmax(learnedLogits(additions.learnedGate, logits, weight)));
  const graph = builder.build();
  const values = { logits: logits_NE, gateOffset: [0, 0, 0], gateLogTemperature: [Math.log(temperature)] };
  const { results } = await runOnce(graph, { values });
  const slopes = await Promise.all(
    [0, 1, 2].map(async (expert) => {
      const derived = gradient(graph, { outputs: ['p'], wrt: ['gateLogTemperature'] });
      const one = [0, 1, 2, 3, 4, 5].map((at) => Number(at === expert));
      const run = await runOnce(derived, { values: { ...values, 'd.p': one } });
      return Number(run.results['grad.gateLogTemperature']?.data[0]);
    }),
  );
  return { p: Array.from(results['p']?.data ?? [], Number), slopes };
}

test.each([
  { activation: 'tanh', p: [0.608413, 0.310491, 0.081096, 0.245135, 0.553242, 0.201622] },
  { activation: 'sigmoid', p: [0.423016, 0.337946, 0.239039, 0.310696, 0.393674, 0.295629] },
])('worked values of $activation at temperature ½', async ({ activation, p }) => {
  const result = await gate({ activation }, 0.5);
  result.p.forEach((value, i) => expect(value).toBeCloseTo(p[i] ?? NaN, 5));
});

test('the derivative by the temperature, which at 1 is that by its logarithm', async () => {
  const { slopes } = await gate({}, 1);
  [-0.182639, 0.048191, 0.134448].forEach((value, i) => expect(slopes[i]).toBeCloseTo(value, 5));
});

test('the gate is added to every layer, and starts as it is told', () => {
  const { added = [] } = startMethod('transformed-gate', { temperature: 0.5 }, contextOf(1));
  const start = added.map((parameter) => [parameter.id, [...parameter.initial(() => new Float32Array())]]);
  expect(start).toEqual([
    ['layers.0.gateOffset', [0, 0, 0]],
    ['layers.0.gateLogTemperature', [Math.fround(Math.log(0.5))]],
  ]);
});

test('where only the gate trains, routers do and experts do not', () => {
  const session = startMethod('transformed-gate', { trains: 'gate' }, contextOf(1));
  const parameter = { id: '', layer: 0, expert: null, shape: [1] };
  expect(session.trainable({ ...parameter, role: 'router' })).toBe(true);
  expect(session.trainable({ ...parameter, role: 'expertUp' })).toBe(false);
});

test('a gate that the model has goes on, and is not taken for another one', () => {
  const context = contextOf(1);
  const plan = withAdditions(context.plan, { learnedGate: { activation: 'tanh' } });
  expect(startMethod('transformed-gate', { activation: 'tanh' }, { ...context, plan }).added).toEqual([]);
  expect(() => startMethod('transformed-gate', {}, { ...context, plan })).toThrow('a learned gate over tanh');
  expect(() => startMethod('full', { baseKlCoefficient: 1 }, { ...context, plan })).toThrow(
    'has learned gates',
  );
});
