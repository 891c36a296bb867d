import { expect, test } from 'vitest';
import { withAdditions, type WeightRole } from '#worker/model/index.ts';
import { contextOf } from './f0.fixture.ts';
import { startMethod } from './index.ts';

const start = (options: Record<string, unknown> = {}, seed = 0) =>
  startMethod('local-expert', options, { ...contextOf(2), seed });

const values = (options: Record<string, unknown>, seed = 0) =>
  new Map(
    (start(options, seed).added ?? []).map((parameter) => [
      parameter.id,
      { shape: parameter.shape, values: [...parameter.initial(() => new Float32Array())] },
    ]),
  );

test('every layer gets a local expert that adds nothing at first, and a gate that is half open', () => {
  const added = values({ rank: 3 });
  expect([...added].map(([id, { shape }]) => [id, shape])).toEqual([
    ['layers.0.localDown', [3, 2]],
    ['layers.0.localUp', [2, 3]],
    ['layers.0.localGate', [2]],
    ['layers.0.localGateBias', [1]],
  ]);
  const { 'layers.0.localDown': down, ...others } = Object.fromEntries(added);
  expect(down?.values.every((value) => value !== 0 && Math.abs(value) < 1 / Math.sqrt(2))).toBe(true);
  expect(Object.values(others).flatMap((other) => other.values)).toEqual(new Array(9).fill(0));
});

test('start values follow the seed', () => {
  expect(values({}, 1)).toEqual(values({}, 1));
  expect(values({}, 1)).not.toEqual(values({}, 2));
});

test('without a gate there are no parameters of one', () => {
  expect([...values({ gate: 'none' }).keys()]).toEqual(['layers.0.localDown', 'layers.0.localUp']);
  expect(start({ gate: 'none', scale: 2 }).additions?.localExpert).toMatchObject({ gated: false, scale: 2 });
});

test('local experts of the model go on, and others are refused', () => {
  const context = contextOf(2);
  const again = (options: Record<string, unknown>) => {
    const { additions = {} } = start({ rank: 3 });
    return startMethod('local-expert', options, { ...context, plan: withAdditions(context.plan, additions) });
  };
  const session = again({ rank: 3, threshold: 0.5 });
  expect(session.added).toEqual([]);
  expect(session.additions?.localExpert).toMatchObject({ rank: 3, threshold: 0.5 });
  expect(session.trainable({ id: '', role: 'localUp', layer: 0, expert: null, shape: [1] })).toBe(true);
  expect(() => again({ rank: 4 })).toThrow('local experts whose rank is 3, not 4');
});

test('the base is frozen unless it is asked for', () => {
  const parameter = (role: WeightRole) => ({ id: role, role, layer: 0, expert: null, shape: [1] });
  expect(start().trainable(parameter('router'))).toBe(false);
  expect(start({ trains: 'all' }).trainable(parameter('router'))).toBe(true);
});
