/** A checkpoint of random weights, to be trained. */
import type { NamedTensor } from '#worker/checkpoint/index.ts';
import { elementCount, parametersOf, type DecoderPlan, type Family } from '#worker/model/index.ts';
import { Draws } from './draws.ts';

/**
 * Weights of a plan: norms one, matrices normal with standard deviation 0.02, those that write into the residual stream
 * smaller by √(2 · layers) (as GPT-2), routers 0.1 so that experts differ from the start.
 */
export function randomWeights(family: Family, plan: DecoderPlan, seed: number): NamedTensor[] {
  return parametersOf(plan).map((parameter, index) => {
    const draws = new Draws(seed, index);
    const residual = parameter.role === 'output' || parameter.role === 'expertDown';
    const deviation =
      parameter.role === 'router' ? 0.1 : residual ? 0.04 / Math.sqrt(2 * plan.layers.length) : 0.04;
    const values = Float32Array.from({ length: elementCount(parameter.shape) }, () =>
      parameter.shape.length === 1 ? 1 : deviation * draws.normal(),
    );
    const name = family.stored(parameter, plan)[0]?.name ?? '';
    return { name, dtype: 'F32', shape: parameter.shape, data: new Uint8Array(values.buffer) };
  });
}
