/** Where the gradient ends: below the lowest weight that trains nothing is computed. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { unpaddedBatch } from '#worker/engine/index.ts';
import type { Parameter } from '#worker/model/index.ts';
import { createRuntime, type Program, type Runtime } from '#worker/runtime/index.ts';
import { loadModel } from './load-model.ts';

const modelDir = join(import.meta.dirname, '../../resources/sample/sample-moe');
const ids = Int32Array.from({ length: 96 }, (_, i) => 5 + ((i * 37) % 200));
/** The experts that train, of layer 1 of 4. */
const TRAINED = [2, 4] as const;

/** A runtime that counts the runs of programs called `name`. */
function counting(name: string): { readonly runtime: Runtime; runs: number } {
  const plain = createRuntime({ threads: 1 });
  const counted = { runs: 0, runtime: plain };
  const countedProgram = (program: Program): Program => ({
    name: program.name,
    inputs: program.inputs,
    outputs: program.outputs,
    release: () => program.release(),
    run: (feeds, fetches) => {
      if (program.name === name) counted.runs++;
      return program.run(feeds, fetches);
    },
  });
  counted.runtime = {
    ...plain,
    compile: async (graph, options) => countedProgram(await plain.compile(graph, options)),
  };
  return counted;
}

/** The gradients of what trains after one micro-batch, how many backward runs of experts it took, and the experts with tokens by layer. */
async function trainOnce(trains: (parameter: Parameter) => boolean) {
  const counted = counting('expert.grad');
  const model = await loadModel({
    modelDir,
    method: { name: 'full', options: {} },
    trains,
    runtime: counted.runtime,
  });
  try {
    const { usage } = await model.executor.train(unpaddedBatch(ids, 2, ids), 90, 1);
    const { store } = model;
    store.completeGradients();
    const trained = store.parameters.filter(({ id }) => store.isTrained(id));
    return {
      runs: counted.runs,
      busy: usage.map(({ hard_E }) => [...hard_E.keys()].filter((expert) => hard_E[expert] !== 0)),
      gradients: new Map(trained.map(({ id }) => [id, store.gradient(id).data.slice()])),
    };
  } finally {
    model.close();
  }
}

const isTrained = ({ layer, expert }: Parameter) => layer === 1 && TRAINED.some((one) => one === expert);

test.each(['output', 'router'])(
  'experts that do not train have no backward pass in the lowest layer that trains, unless its %s trains too',
  async (role) => {
    const alone = await trainOnce(isTrained);
    const beside = await trainOnce(
      (parameter) => isTrained(parameter) || (parameter.layer === 1 && parameter.role === role),
    );
    const [, own = [], ...above] = alone.busy;
    expect(own).toEqual(expect.arrayContaining([...TRAINED]));
    expect(alone.runs).toBe(above.flat().length + TRAINED.length);
    expect(beside.runs).toBe(above.flat().length + own.length);
    expect(own.length).toBeGreaterThan(TRAINED.length);
    for (const [id, gradient] of alone.gradients) {
      expect(gradient.some((value) => value !== 0)).toBe(true);
      expect(beside.gradients.get(id), id).toEqual(gradient);
    }
  },
);
