import { describe, expect, test } from 'vitest';
import { routingOf, type LayerUsage, type MethodSession } from '#worker/model/index.ts';
import { contextOf, noUsage, passThrough } from './f0.fixture.ts';
import { startMethod } from './index.ts';

const at = { step: 0, totalSteps: 4, microBatch: 0, microBatches: 1 };
const start = (options: Record<string, unknown>, normalise = false) => {
  const readDefaultOutputs = () => [Float32Array.of(0.8, 0.1, 1.5, 0.5, 0, 0.2)];
  const context = { ...contextOf(1, normalise), readDefaultOutputs };
  return { context, session: startMethod('default-moe', options, context) };
};

/** Usage of one layer: choices of each expert, and what it gave on average. */
function usageOf(hard: readonly number[], mean: readonly number[]): LayerUsage {
  return {
    ...noUsage,
    hard_E: Uint32Array.from(hard),
    hardAll_E: Uint32Array.from(hard),
    meanOutput_EH: Float32Array.from(mean),
  };
}

/** The present default outputs, `[experts × hidden]`. */
function outputsOf({ routing: { dense } }: MethodSession): number[] {
  if (dense?.standIn.kind !== 'vector') throw new TypeError('default outputs are vectors');
  return [...dense.standIn.vectors_EH(0)].map((value) => Number(value.toFixed(6)));
}

describe('two tokens, three experts with default outputs, the best one chosen', () => {
  const dLogits = [-0.050509, 0.207815, -0.157306, 0.034156, 0.125909, -0.160065];

  test.each([
    { defaultsIn: 'value', y: [1.001086, 0.190543, 0.225126, 1.006993] },
    { defaultsIn: 'gradient', y: [0.524185, 0, 0, 0.927927] },
  ])('defaults in the $defaultsIn', async ({ defaultsIn, y }) => {
    const { session, context } = start({ defaultsIn, defaultsFile: 'default_outputs.safetensors' });
    const result = await passThrough(session, context);
    result.y.flat().forEach((value, i) => expect(value).toBeCloseTo(y[i] ?? NaN, 5));
    result.dLogits.forEach((value, i) => expect(value).toBeCloseTo(dLogits[i] ?? NaN, 5));
    // Token 0 went to expert 0, token 1 to expert 1.
    session.afterMicroBatch([usageOf([1, 1, 0], [1, 0, 0, 2, 0, 0])], at);
    session.afterStep(at);
    expect(outputsOf(session)).toEqual([0.82, 0.09, 1.35, 0.65, 0, 0.2]);
  });
});

test('experts that are not chosen keep their probability where chosen ones are divided by their sum', async () => {
  const { session, context } = start({ defaultsIn: 'value', defaultsFile: 'folder' }, true);
  const { y } = await passThrough(session, context);
  // Token 0: expert 0 with weight 1, the defaults of experts 1 and 2 with .317934 and .157881.
  expect(y[0]?.[0]).toBeCloseTo(1 + 0.317934 * 1.5, 5);
  expect(y[0]?.[1]).toBeCloseTo(0.317934 * 0.5 + 0.157881 * 0.2, 5);
});

test('the first mean is taken as it is; means of micro-batches count by their tokens', () => {
  const { session } = start({ beta: 0.75 });
  expect(outputsOf(session)).toEqual([0, 0, 0, 0, 0, 0]);
  session.afterMicroBatch([usageOf([3, 0, 1], [1, 0, 0, 0, 8, 8])], at);
  session.afterMicroBatch([usageOf([1, 0, 0], [5, 4, 0, 0, 0, 0])], at);
  session.afterStep(at);
  expect(outputsOf(session)).toEqual([2, 1, 0, 0, 8, 8]);
  session.afterMicroBatch([usageOf([1, 2, 0], [6, 5, 1, 2, 0, 0])], at);
  session.afterStep(at);
  expect(outputsOf(session)).toEqual([3, 2, 1, 2, 8, 8]);
});

test('a restored session has the same default outputs and forgets a step that was given up', () => {
  const { session } = start({ beta: 0.5 });
  session.afterMicroBatch([usageOf([1, 1, 0], [1, 2, 3, 4, 0, 0])], at);
  session.afterStep(at);
  const saved = JSON.parse(JSON.stringify(session.save())) as unknown;
  session.afterMicroBatch([usageOf([1, 0, 1], [9, 9, 0, 0, 7, 7])], at);
  session.restore(saved);
  session.afterStep(at);
  expect(outputsOf(session)).toEqual([1, 2, 3, 4, 0, 0]);
  // Expert 0 is known, expert 2 is not.
  session.afterMicroBatch([usageOf([1, 0, 1], [3, 4, 0, 0, 7, 7])], at);
  session.afterStep(at);
  expect(outputsOf(session)).toEqual([2, 3, 3, 4, 7, 7]);
});

test('only defaults in the value are part of the trained model', () => {
  const inGradient = start({}).session;
  expect(routingOf(inGradient, 'inference').dense).toBeUndefined();
  expect(inGradient.routerState()).toEqual({});
  const inValue = start({ defaultsIn: 'value' }).session;
  expect(routingOf(inValue, 'inference').dense).toBeDefined();
  expect(inValue.routerState().defaultOutputs).toHaveLength(1);
});
