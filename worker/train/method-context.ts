/** What a method may look at when it starts, from a model's plan. */
import { UserError } from '#core/contract/errors.ts';
import { readExpertConfig } from '#worker/checkpoint/index.ts';
import {
  moeLayerIndices,
  routerShapes,
  type DecoderPlan,
  type ExpertConfig,
  type ExpertScores,
  type Family,
  type MethodContext,
} from '#worker/model/index.ts';
import { uniform } from '#worker/random/index.ts';
import { readAdapters } from './adapter-names.ts';
import { readDefaultOutputs } from './default-output-file.ts';
import { biasOfLayers, condensersOfLayers } from './router-files.ts';
import { readTokenExperts } from './token-expert-file.ts';

/**
 * The context of a method on `plan`.
 * @param measured what was measured for the method before, and the seed of the run.
 */
export function methodContext(
  family: Family,
  plan: DecoderPlan,
  {
    expertScores,
    submatrices,
    seed,
    tokenCounts = () => new Uint32Array(plan.vocabularySize),
  }: Pick<MethodContext, 'expertScores' | 'submatrices' | 'seed'> &
    Partial<Pick<MethodContext, 'tokenCounts'>>,
): MethodContext {
  const layers = moeLayerIndices(plan);
  return {
    plan,
    moeLayers: layers.length,
    seed,
    gumbel: ({ step, microBatch, layer }, count) =>
      Float32Array.from(
        uniform(seed, `gumbel ${step} ${microBatch} ${layer}`, count),
        (u) => -Math.log(-Math.log(u)),
      ),
    readBias: (path) => biasOfLayers(path, layers),
    readCondensers: (path) => condensersOfLayers(path, layers),
    readExpertConfig: (path, firstLayer) => expertConfigOf(path, layers, firstLayer),
    readAdapters: (path) => readAdapters(path, family, plan),
    readDefaultOutputs: (path) => readDefaultOutputs(path, plan),
    readTokenExperts: (path) => readTokenExperts(path, plan),
    tokenCounts,
    submatrices,
    expertScores,
  };
}

function expertConfigOf(path: string, layers: readonly number[], firstLayer: 0 | 1): ExpertConfig {
  const { experts, sharedExperts, nonExpertModules } = readExpertConfig(path);
  const wanted = layers.map((layer) => layer + firstLayer);
  const keys = [...experts.keys()];
  if (keys.length !== wanted.length || !wanted.every((key) => experts.has(key))) {
    throw new UserError(
      'expert-file/layers',
      `${path} has layers ${keys.join(', ')}; expected for this model are ${wanted.join(', ')}`,
      'The file belongs to another model, or counts its layers from elsewhere: see method.options.layerKeys.',
    );
  }
  return { experts: wanted.map((key) => experts.get(key) ?? []), sharedExperts, nonExpertModules };
}

/** Scores of a model that uses its experts evenly: what a plan goes by before a sample is routed. */
export function evenScores(plan: DecoderPlan): ExpertScores {
  const even_LE = routerShapes(plan).map(({ experts }) => new Array<number>(experts).fill(1 / experts));
  return { token: even_LE, gate: even_LE };
}
