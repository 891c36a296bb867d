import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openModelFolder } from '#worker/checkpoint/index.ts';
import { familyOf } from '#worker/families/index.ts';
import { Arena, createKernels } from '#worker/kernels/index.ts';
import { isAdded, parametersOf, type AddedParameter, type Parameter } from '#worker/model/index.ts';
import { ParameterStore } from './parameter-store.ts';

const sample = join(import.meta.dirname, '../../resources/sample/sample-moe');

/** The sample model with the largest value of its first router beside it. */
async function storeOf(isTrained: (parameter: Parameter) => boolean): Promise<ParameterStore> {
  const added: AddedParameter = {
    id: 'layers.0.largest',
    role: 'router',
    layer: 0,
    expert: null,
    shape: [1],
    initial: (weight) => Float32Array.of(Math.max(...weight('layers.0.router'))),
  };
  const folder = await openModelFolder(sample);
  try {
    const family = familyOf(folder.config);
    const plan = family.plan(folder.config);
    const arena = new Arena();
    const parameters = [...parametersOf(plan), added];
    const kernels = createKernels(arena);
    return ParameterStore.load({ folder, family, plan, parameters, isTrained, arena, kernels });
  } finally {
    folder.close();
  }
}

test('a parameter that no checkpoint holds starts from the weights, and trains beside frozen ones', async () => {
  const store = await storeOf(isAdded);
  expect(store.dtype('layers.0.router')).toBe('bfloat16');
  const largest = Math.max(...store.values('layers.0.router'));
  expect(largest).toBeGreaterThan(0);
  expect([...store.values('layers.0.largest')]).toEqual([largest]);
  expect([...store.trainedParts()].map(({ parameter }) => parameter.id)).toEqual(['layers.0.largest']);
  // One value, padded to a block of moments.
  expect(store.trainedElements).toBe(256);
  expect(store.gradient('layers.0.largest').shape).toEqual([1]);
});

test('it is there where nothing trains', async () => {
  const store = await storeOf(() => false);
  expect(store.isTrained('layers.0.largest')).toBe(false);
  expect([...store.values('layers.0.largest')]).toEqual([Math.max(...store.values('layers.0.router'))]);
  expect(store.trainedElements).toBe(0);
});
