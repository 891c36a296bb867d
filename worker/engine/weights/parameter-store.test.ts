import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openModelFolder } from '#worker/checkpoint/index.ts';
import { familyOf } from '#worker/families/index.ts';
import { Arena, createKernels } from '#worker/kernels/index.ts';
import {
  elementCount,
  isAdded,
  parametersOf,
  type AddedParameter,
  type Parameter,
} from '#worker/model/index.ts';
import type { TensorView } from '#worker/runtime/index.ts';
import { ParameterStore, type LoadParts } from './parameter-store.ts';

const sample = join(import.meta.dirname, '../../../resources/sample/sample-moe');
const opened: { close(): void }[] = [];
afterAll(() => opened.forEach((folder) => folder.close()));

/** The sample model with the largest value of its first router beside it. */
async function storeOf(
  isTrained: (parameter: Parameter) => boolean,
  arena = new Arena(),
  more: Pick<LoadParts, 'from' | 'isRounded' | 'multipliesInt8' | 'activationBytes'> = {},
): Promise<ParameterStore> {
  const added: AddedParameter = {
    id: 'layers.0.largest',
    role: 'router',
    layer: 0,
    expert: null,
    shape: [1],
    initial: (weight) => Float32Array.of(Math.max(...weight('layers.0.router'))),
  };
  const folder = await openModelFolder(sample);
  opened.push(folder);
  const family = familyOf(folder.config);
  const plan = family.plan(folder.config);
  const parameters = [...parametersOf(plan), added];
  const kernels = createKernels(arena);
  return ParameterStore.load({
    folder,
    family,
    plan,
    parameters,
    isTrained,
    arena,
    kernels,
    ...more,
  });
}

test('a parameter that no checkpoint holds starts from the weights, and trains beside frozen ones', async () => {
  const store = await storeOf(isAdded);
  expect(store.heldDtype('layers.0.router')).toBe('bfloat16');
  const largest = Math.max(...store.values('layers.0.router'));
  expect(largest).toBeGreaterThan(0);
  expect([...store.values('layers.0.largest')]).toEqual([largest]);
  expect([...store.trainedParts()].map(({ parameter }) => parameter.id)).toEqual(['layers.0.largest']);
  // One value, padded to a block of moments.
  expect(store.trained.elements).toBe(256);
  expect(store.gradient('layers.0.largest').shape).toEqual([1]);
});

test('it is there where nothing trains', async () => {
  const store = await storeOf(() => false);
  expect(store.isTrained('layers.0.largest')).toBe(false);
  expect([...store.values('layers.0.largest')]).toEqual([Math.max(...store.values('layers.0.router'))]);
  expect(store.trained.elements).toBe(0);
});

/** Frozen weights are in memory of their own where an arena has no more than this. */
const SMALL_ARENA = 2 ** 28;

test.each(['the arena', 'memory of their own'])(
  'a store made from another takes its frozen weights over that lie in %s, and starts what trains anew',
  async (where) => {
    const arenaOf = () => new Arena(where === 'the arena' ? {} : { maximumBytes: SMALL_ARENA });
    const arena = arenaOf();
    const untouched = await storeOf(() => false, arena);
    const frozen = ['layers.0.experts.1.expertUp', 'layers.1.experts.3.expertDown', 'head'];
    const before = frozen.map((id) => untouched.weight(id).data.slice());
    const promoted = 'layers.0.experts.0.expertUp';
    const given = untouched.weight(promoted).data;
    // What a model leaves behind in the arena when it has run.
    const mark = arena.mark();
    arena.f32(arena.allocate(2 ** 20), 2 ** 18).fill(NaN);
    arena.release(mark);

    const isTrained = ({ id }: Parameter) => id === promoted;
    const store = await storeOf(isTrained, arena, { from: untouched });
    expect(frozen.map((id) => store.weight(id).data)).toEqual(before);
    expect(untouched.has('layers.0.experts.1.expertUp')).toBe(false);
    expect(store.weight(promoted)).toMatchObject({ dtype: 'float32' });
    const other = arenaOf();
    const fresh = await storeOf(isTrained, other);
    expect([...store.values(promoted)]).toEqual([...fresh.values(promoted)]);
    expect(store.gradient(promoted).data.every((value) => value === 0)).toBe(true);
    // Nothing of what is given up is kept.
    expect(arena.bytesUsed).toBe(other.bytesUsed);
    const inArena = where === 'the arena';
    expect(given.length).toBe(inArena ? elementCount(store.weight(promoted).shape) : 0);
  },
);

test('matrices leave the arena to activations that are planned to fill it', async () => {
  const id = 'layers.0.experts.1.expertUp';
  for (const [activationBytes, dtype] of [
    [2 ** 33, 'float32'],
    [2 ** 34, 'bfloat16'],
  ] as const)
    expect((await storeOf(() => false, new Arena(), { activationBytes })).dtype(id)).toBe(dtype);
});

test('matrices are widened by a kernel where they lie in the arena, and inside graphs elsewhere', async () => {
  const [arena, own] = [
    await storeOf(() => false),
    await storeOf(() => false, new Arena({ maximumBytes: SMALL_ARENA })),
  ];
  const [first, second] = ['layers.0.experts.1.expertUp', 'layers.0.experts.2.expertUp'] as const;
  expect([own.dtype(first), own.isPassing(first), own.inputs([first])[0]]).toEqual([
    'bfloat16',
    false,
    own.weight(first),
  ]);
  expect([arena.dtype(first), arena.heldDtype(first), arena.isPassing(first)]).toEqual([
    'float32',
    'bfloat16',
    true,
  ]);
  for (const id of [first, second, first]) {
    const { dtype, shape, data } = arena.inputs([id])[0] as TensorView;
    expect([dtype, shape]).toEqual(['float32', own.weight(id).shape]);
    expect([...data]).toEqual([...own.values(id)]);
  }
  expect(arena.dtype('layers.0.router')).toBe('float32');
  const placesOf = (...ids: readonly string[]) =>
    new Set((arena.inputs(ids) as TensorView[]).map(({ data }) => data.byteOffset));
  const attention = placesOf(...['query', 'key', 'value', 'output'].map((role) => `layers.0.${role}`));
  const expert = placesOf(...['Gate', 'Up', 'Down'].map((part) => `layers.1.experts.3.expert${part}`));
  expect([attention.size, expert.size, new Set([...attention, ...expert]).size]).toEqual([4, 3, 4]);
  // Vectors stay as they are.
  expect(arena.dtype('layers.0.inputNorm')).toBe('bfloat16');
});

test('rows of an embedding that does not train are read from the checkpoint', async () => {
  const arena = new Arena();
  const [frozen, trained] = [
    await storeOf(() => false, arena),
    await storeOf(({ id }) => id === 'embedding', arena),
  ];
  const [, width = 0] = trained.weight('embedding').shape;
  const ids = Int32Array.of(3, 0, 1023, 3);
  const rowsOf = (store: ParameterStore) => {
    const rows = arena.allocate(ids.length * width * 4);
    store.lookUp(ids, width, rows.offset);
    return arena.f32(rows, ids.length * width).slice();
  };
  expect(rowsOf(frozen)).toEqual(rowsOf(trained));
  expect(rowsOf(frozen)).toEqual(
    Float32Array.from(
      [...ids].flatMap((id) => [...frozen.values('embedding').subarray(id * width, (id + 1) * width)]),
    ),
  );
});

test('rounded experts are handed on as they are, and what trains of them is read from the checkpoint', async () => {
  const isRounded = ({ expert }: Parameter) => expert !== null;
  const arena = new Arena();
  const stored = await storeOf(() => false);
  const untouched = await storeOf(() => false, arena, { isRounded });
  const [frozen, promoted] = ['layers.0.experts.1.expertUp', 'layers.0.experts.0.expertUp'] as const;
  const rows = untouched.weight(frozen);
  const scales = untouched.scales(frozen)?.data ?? [];
  expect([rows.dtype, untouched.dtype(frozen), scales.length]).toEqual(['int8', 'int8', rows.shape[0]]);
  const columns = rows.shape[1] ?? NaN;
  stored.values(frozen).forEach((weight, i) => {
    const scale = Number(scales[Math.floor(i / columns)]);
    expect(Math.abs(weight - scale * Number(rows.data[i]))).toBeLessThanOrEqual(scale * 0.50001);
  });
  expect(() => untouched.values(frozen)).toThrow('in the checkpoint');
  const store = await storeOf(({ id }) => id === promoted, arena, { from: untouched, isRounded });
  expect(store.weight(frozen).data).toBe(rows.data);
  expect([store.dtype(promoted), store.scales(promoted)]).toEqual(['float32', undefined]);
  expect([...store.values(promoted)]).toEqual([...stored.values(promoted)]);
  const multiplying = await storeOf(() => false, arena, { from: store, isRounded, multipliesInt8: true });
  expect([multiplying.dtype(frozen), multiplying.heldDtype(frozen)]).toEqual(['int8-products', 'int8']);
  expect(multiplying.weight(frozen).data).toBe(rows.data);
  // One that wants them as stored reads them anew.
  const whole = await storeOf(() => false, arena, { from: multiplying });
  expect([...whole.values(frozen)]).toEqual([...stored.values(frozen)]);
});
