import { expect, test } from 'vitest';
import type { Dataset } from './dataset.ts';
import { createLoader } from './loader.ts';
import type { Loader, LoaderOptions, MicroBatch } from './loader.ts';
import { IGNORED } from './processor.ts';

/** Example e has the ids 1000·e + 1, 1000·e + 2, …; all but the first two tokens are trained. */
function numbered(lengths: readonly number[]): Dataset {
  return {
    length: lengths.length,
    lengths: Uint32Array.from(lengths),
    tokens: lengths.reduce((sum, length) => sum + length, 0),
    trainedTokens: lengths.reduce((sum, length) => sum + length - 2, 0),
    read(example) {
      const ids = Int32Array.from(
        { length: lengths[example] ?? 0 },
        (_, index) => 1000 * example + index + 1,
      );
      return {
        ids,
        labels: ids.map((id, index) => (index < 2 ? IGNORED : id)),
        trainedCount: ids.length - 2,
      };
    },
    origin: (example) => ({ path: 'numbered', row: example + 1 }),
  };
}

const LENGTHS = [5, 3, 8, 4, 6, 3, 7, 9, 4, 5, 3];
const OPTIONS: LoaderOptions = { microBatch: 2, maxLength: 12, packing: true, seed: 5, padId: 9 };
const make = (more: Partial<LoaderOptions> = {}) => createLoader(numbered(LENGTHS), { ...OPTIONS, ...more });

function epochOf(loader: Loader): MicroBatch[] {
  return [...loader.pass(loader.state.epoch)];
}

/** Checks every rule a micro-batch must keep, and gives the ids of its segments. */
function segmentsOf(micro: MicroBatch): number[][] {
  const { batch, sequence, inputIds, labels } = micro;
  const places = [...inputIds.keys()];
  expect(places).toHaveLength(batch * sequence);
  const padding = places.filter((at) => micro.segments[at] === 0);
  const tokens = places.filter((at) => micro.segments[at] !== 0);
  const trained = tokens.filter((at) => labels[at] !== IGNORED);
  for (const at of padding) {
    expect([inputIds[at], labels[at], micro.positions[at]]).toEqual([OPTIONS.padId, IGNORED, 0]);
  }
  for (const at of trained) expect(labels[at]).toBe(inputIds[at]);
  expect(micro.tokens).toBe(tokens.length);
  expect(micro.trainedTokens).toBe(trained.length);

  const segments: number[][] = [];
  const expected: { segment: number; position: number }[] = [];
  for (const at of tokens) {
    const startsRow = at % sequence === 0;
    const sameSegment = !startsRow && micro.segments[at] === micro.segments[at - 1];
    const before = startsRow ? 0 : (micro.segments[at - 1] ?? -1);
    if (!sameSegment) segments.push([]);
    const current = segments.at(-1) ?? [];
    expected.push({ segment: sameSegment ? before : before + 1, position: current.length });
    current.push(inputIds[at] ?? -1);
  }
  // Numbered from 1 without gaps in every row, and positions start at 0 in each; so padding can only end a row.
  expect(tokens.map((at) => ({ segment: micro.segments[at], position: micro.positions[at] }))).toEqual(
    expected,
  );
  return segments;
}

test.each([{ packing: true }, { packing: false }, { packing: 'buckets' } as const])(
  'an epoch holds every example once, whole: %o',
  (more) => {
    const dataset = numbered(LENGTHS);
    const batches = epochOf(make(more));
    const seen = batches.flatMap((micro) => segmentsOf(micro).map((ids) => ids.join()));
    const expected = LENGTHS.map((_, example) => dataset.read(example).ids.join());
    expect([...seen].sort()).toEqual([...expected].sort());
    expect(batches.flatMap(({ examples }) => [...examples]).sort((a, b) => a - b)).toEqual([
      ...LENGTHS.keys(),
    ]);
    for (const { batch } of batches.slice(0, -1)) expect(batch).toBe(2);
  },
);

test('packing shares rows; without it every row is one example, padded to the longest', () => {
  expect(make().rowsPerEpoch).toBeLessThan(LENGTHS.length);
  const single = make({ packing: false });
  expect(single.rowsPerEpoch).toBe(LENGTHS.length);
  expect(single.microBatchesPerEpoch).toBe(6);
  for (const micro of epochOf(single)) {
    expect(micro.sequence).toBe(Math.max(...micro.examples.map((example) => LENGTHS[example] ?? 0)));
  }
});

test('file order when not shuffled', () => {
  const batches = epochOf(make({ packing: false, shuffle: false }));
  expect(batches.flatMap(({ examples }) => examples)).toEqual([...LENGTHS.keys()]);
});

test('epochs follow each other in different orders, the same for the same seed', () => {
  const draw = (loader: Loader) => Array.from({ length: 24 }, () => loader.next());
  const one = draw(make({ packing: false }));
  const two = draw(make({ packing: false }));
  expect(one).toEqual(two);
  expect(one.map(({ epoch }) => epoch)).toEqual(
    [0, 1, 2, 3].flatMap((epoch) => Array.from({ length: 6 }, () => epoch)),
  );
  const order = (epoch: number) =>
    one.filter((micro) => micro.epoch === epoch).flatMap(({ examples }) => examples);
  expect(order(0)).not.toEqual(order(1));
  expect(draw(make({ packing: false, seed: 6 }))).not.toEqual(one);
});

test.each([{ packing: true }, { packing: false }, { packing: 'buckets' } as const])(
  'resuming from any state gives the same micro-batches: %o',
  (more) => {
    const whole = make(more);
    const states = [];
    const batches = [];
    for (let i = 0; i < 15; i++) {
      states.push(structuredClone(whole.state));
      batches.push(whole.next());
    }
    for (const [start, state] of states.entries()) {
      const resumed = make(more);
      resumed.restore(state);
      for (const expected of batches.slice(start)) expect(resumed.next()).toEqual(expected);
    }
  },
);

test('evaluating in between moves nothing', () => {
  const plain = make();
  const disturbed = make();
  for (let i = 0; i < 6; i++) {
    expect([...disturbed.pass(3)].length).toBeGreaterThan(0);
    expect(disturbed.next()).toEqual(plain.next());
  }
});

test('a state of another run or other data is refused', () => {
  const code: unknown = expect.objectContaining({ code: 'data/loader-state' });
  expect(() => make().restore({ seed: 6, epoch: 0, position: 0 })).toThrow(code);
  expect(() => make().restore({ seed: 5, epoch: 0, position: 1000 })).toThrow(code);
});

test('an example longer than a row is refused', () => {
  expect(() => make({ maxLength: 8 })).toThrow(/an example has 9 tokens, more than maxLength 8/);
});
