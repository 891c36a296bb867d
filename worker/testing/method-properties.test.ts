/**
 * What methods promise beside one another, on one tiny model for each kind of router: equal runs, equal first steps,
 * padding, micro-batches, the order of experts, and options under which two methods are one.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { unpaddedBatch, type MicroBatchResult } from '#worker/engine/index.ts';
import { familyNames } from '#worker/families/index.ts';
import { routerShapes } from '#worker/model/index.ts';
import { decoderPlanOf, finishStep, type LoadedModel } from '#worker/train/index.ts';
import { goldenFamilyModel, hasGoldenFamilies } from './golden-families.ts';
import {
  differing,
  methodNames,
  paddedBatch,
  refusalOf,
  sharedRuntime,
  start,
  TARGETS,
  trainSteps,
  weightsOf,
  type StartOptions,
  type Step,
} from './method-pairs.fixture.ts';

/** The first family of each kind of router that has experts; groups of experts are an option of another case. */
async function routerKinds(): Promise<string[]> {
  const first = new Map<string, string>();
  for (const name of [...familyNames, 'deepseek_v2-groups']) {
    const plan = await decoderPlanOf(goldenFamilyModel(name));
    const router = routerShapes(plan)[0]?.router;
    if (router === undefined) continue;
    const { scoring, sparseMixer, normalise, bias, selectionBias, groups } = router;
    const kind = JSON.stringify([scoring, sparseMixer, normalise, bias, selectionBias, groups]);
    if (!first.has(kind)) first.set(kind, name);
  }
  return [...first.values()];
}

interface Model {
  readonly model: string;
  /** Methods that train it. */
  readonly names: readonly string[];
}

const models: Model[] = [];
for (const model of hasGoldenFamilies ? await routerKinds() : []) {
  const refusals = await Promise.all(methodNames.map((name) => refusalOf(model, name)));
  models.push({ model, names: methodNames.filter((_, at) => refusals[at] === null) });
}

/** Methods that draw numbers from the seed. */
const drawing = new Set(['lora', 'dora', 'local-expert', 'evomoe', 'hash-routing', 'stablemoe']);
/** Methods that route the first step of a checkpoint differently. */
const reroute = new Set(['ds-moe', 'evomoe', 'base-assignment', 'hash-routing']);
/** Methods whose first gradients of what trains are those of full fine-tuning. */
const sameGradients = new Set(['frozen-router', 'esft', 'loss-free-balancing', 'expert-condenser']);
/** Methods whose choice for a token depends on its place in the micro-batch, or on the other tokens of it. */
const mixTokens = new Set(['evomoe', 'base-assignment']);

/** A batch of the first row of `paddedBatch`, and one of the second, both without padding. */
const rows = [0, 1].map((row) => {
  const { inputIds, sequence } = paddedBatch();
  const ids = inputIds.subarray(row * sequence, (row + 1) * sequence).filter((id) => id !== 0);
  return unpaddedBatch(ids, 1, ids);
});

test.runIf(hasGoldenFamilies)('each kind of router has a model', () => {
  expect(models.map(({ model }) => model)).toEqual([
    'olmoe',
    'qwen3_moe',
    'dots1',
    'ernie4_5_moe',
    'deepseek_v3',
    'gpt_oss',
    'phimoe',
    'deepseek_v2-groups',
  ]);
});

describe.each(models)('$model', ({ model: modelName, names }) => {
  const runtime = sharedRuntime();
  const opened: LoadedModel[] = [];
  afterAll(() => {
    for (const model of opened) model.close();
    runtime.end();
  });
  const started = async (name: string, given: StartOptions = {}): Promise<LoadedModel> => {
    const model = await start(modelName, name, { ...given, runtime: runtime.shared });
    opened.push(model);
    return model;
  };
  /** The run of a method that others are compared with. */
  const runs = new Map<string, ReturnType<typeof run>>();
  const run = async (name: string) => {
    const model = await started(name);
    return { model, steps: await trainSteps(model), weights: weightsOf(model) };
  };
  const runOf = (name: string) => {
    const known = runs.get(name) ?? run(name);
    runs.set(name, known);
    return known;
  };

  test.each(names)('%s: a run saved and restored on its way ends as one that was not', async (name) => {
    const whole = await runOf(name);
    const broken = await started(name);
    const { session } = broken;
    const state = () => JSON.stringify(session.save());
    expect(await trainSteps(broken, 2, () => session.restore(JSON.parse(state())))).toEqual(whole.steps);
    expect(differing(weightsOf(broken), whole.weights)).toEqual([]);
    expect(session.save()).toEqual(whole.model.session.save());
  });

  test.each(names)('%s: another seed is another run where numbers are drawn, else the same', async (name) => {
    const { steps, weights } = await runOf(name);
    const other = await started(name, { seed: 1 });
    const [first] = await trainSteps(other, 1);
    const squares = [...(first?.squares ?? [])];
    const isSame = squares.every(([id, square]) => square === steps[0]?.squares.get(id));
    expect(isSame).toBe(!drawing.has(name));
    expect(other.store.parameters.map(({ id }) => id)).toEqual([...weights.keys()]);
  });

  test.each(names.filter((name) => !reroute.has(name)))(
    '%s: the first step computes what the checkpoint does',
    async (name) => {
      const [own, wanted] = [(await runOf(name)).steps[0], (await runOf('full')).steps[0]];
      // No token of a random model is predicted right, and such tokens count twice there.
      const weight = name === 'local-expert' ? 2 : 1;
      expect((own?.loss ?? NaN) / weight).toBeCloseTo(wanted?.loss ?? NaN, 4);
      expect(own?.usage.map(({ hard_E }) => hard_E)).toEqual(wanted?.usage.map(({ hard_E }) => hard_E));
      const squares = [...(own?.squares ?? [])].filter(() => sameGradients.has(name));
      expect(squares.filter(([id, square]) => square !== wanted?.squares.get(id))).toEqual([]);
    },
  );

  test.each(names.filter((name) => !mixTokens.has(name)))(
    '%s: padding and micro-batches change neither use nor loss nor bias',
    async (name) => {
      const [padded, apart] = [await started(name), await started(name)];
      const at = { step: 0, totalSteps: 2, microBatch: 0, microBatches: 2 };
      padded.session.beforeStep?.(at);
      apart.session.beforeStep?.(at);
      const whole = await padded.executor.train(paddedBatch(14), TARGETS, 1);
      padded.session.afterMicroBatch(whole.usage, at);
      const parts: MicroBatchResult[] = [];
      for (const [microBatch, row] of rows.entries()) {
        const part = await apart.executor.train(row, TARGETS, 2);
        apart.session.afterMicroBatch(part.usage, { ...at, microBatch });
        parts.push(part);
      }
      expect(parts.reduce((sum, { lossSum }) => sum + lossSum, 0)).toBeCloseTo(whole.lossSum, 4);
      whole.usage.forEach(({ hard_E }, layer) => {
        const together = hard_E.map((_, e) =>
          parts.reduce((sum, { usage }) => sum + (usage[layer]?.hard_E[e] ?? NaN), 0),
        );
        expect(together).toEqual(hard_E);
      });
      for (const model of [padded, apart]) finishStep(model, { ...at, microBatch: 1 });
      expect(apart.session.routerState().bias_LE).toEqual(padded.session.routerState().bias_LE);
    },
  );

  const withoutBias = [
    { name: 'expert-condenser', options: { biasSpeed: 0, condenserBiasSpeed: 0, condensersPerLayer: 0 } },
    { name: 'loss-free-balancing', options: { biasSpeed: 0 } },
  ].filter(({ name }) => names.includes(name));

  test.each(withoutBias)('$name at speed 0 is full fine-tuning, bit for bit', async ({ name, options }) => {
    const model = await started(name, { options });
    const full = await runOf('full');
    const comparable = (steps: readonly Step[]) => steps.map(({ loss, squares }) => ({ loss, squares }));
    expect(comparable(await trainSteps(model))).toEqual(comparable(full.steps));
    expect(differing(weightsOf(model), full.weights)).toEqual([]);
  });

  test.runIf(names.includes('ds-moe'))('where all experts are condensers, training is dense', async () => {
    const condensed = await started('expert-condenser', { options: { phase: 'condensers' } });
    const dense = await started('ds-moe', { options: { mutualInformationCoefficient: 0 } });
    const ofExperts = (value: (expert: number) => number) =>
      routerShapes(condensed.plan).map(({ experts }) => Array.from({ length: experts }, (_, e) => value(e)));
    const zeros = ofExperts(() => 0);
    const state = { bias: zeros, softUsage: zeros, hardUsage: zeros, pending: null };
    condensed.session.restore({ ...state, condensers: ofExperts((expert) => expert) });
    const [first, wanted] = [(await trainSteps(condensed, 1))[0], (await trainSteps(dense, 1))[0]];
    expect([first?.loss, first?.squares]).toEqual([wanted?.loss, wanted?.squares]);
  });

  test.runIf(names.includes('loss-free-balancing'))(
    'a bias that is the same for all experts changes nothing',
    async () => {
      const [model, full] = [await started('loss-free-balancing'), await started('full')];
      const bias = routerShapes(model.plan).map(({ experts }) => new Array<number>(experts).fill(0.25));
      model.session.restore({ bias });
      const { lossSum } = await model.executor.evaluate(paddedBatch());
      expect(lossSum).toBeCloseTo((await full.executor.evaluate(paddedBatch())).lossSum, 4);
    },
  );

  test('the order of experts does not matter', async () => {
    const model = await started('full');
    const before = await model.executor.evaluate(paddedBatch());
    const old = weightsOf(model);
    for (const { id, role, layer, expert, shape } of model.store.parameters) {
      const { feedForward } = model.plan.layers[layer ?? -1] ?? {};
      if (feedForward?.kind !== 'moe') continue;
      const { experts, router } = feedForward;
      // Whole groups change places.
      const shift = experts / (router.groups?.count ?? experts);
      const values = model.store.weight(id).data as Float32Array;
      if (expert !== null) {
        const from = id.replace(`experts.${expert}.`, `experts.${(expert + shift) % experts}.`);
        values.set(old.get(from) ?? []);
      } else if (role === 'router' || role === 'routerBias' || role === 'selectionBias') {
        values.set(turn(old.get(id) ?? new Float32Array(0), shift * (shape[1] ?? 1)));
      }
    }
    expect(differing(weightsOf(model), old).length).toBeGreaterThan(0);
    expect((await model.executor.evaluate(paddedBatch())).lossSum).toBeCloseTo(before.lossSum, 4);
  });
});

/** What comes after the first `count` values, then these. */
function turn(values: Float32Array, count: number): Float32Array {
  return Float32Array.of(...values.subarray(count), ...values.subarray(0, count));
}
