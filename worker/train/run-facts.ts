/** What is fixed once a run is prepared: sizes, hashes, and what makes two runs the same run. */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { invariant } from '#core/contract/errors.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import type { RunFacts } from '#core/contract/run.ts';
import { programVersion } from '#core/process/program-root.ts';
import { openModelFolder, type ModelFolder } from '#worker/checkpoint/index.ts';
import type { DataStats, PreparedData } from '#worker/data/index.ts';
import { elementCount, moeLayerIndices, routerShapes, type Parameter } from '#worker/model/index.ts';
import { halfParameters, roundedMatrices, estimateTime, estimateSteps } from '#worker/plan/index.ts';
import type { LoadedModel } from './load-model.ts';

/** Larger folders are named by their headers and sizes; hashing every byte would delay the first step. */
const FULL_HASH_BYTES = 2e9;

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** A name for the weights: of every byte, or `headers:` and a hash of names, shapes and places for large folders. */
async function modelHash(folder: ModelFolder): Promise<string> {
  if (folder.totalBytes <= FULL_HASH_BYTES) return folder.sha256();
  const tensors = [...folder.tensors.values()].map(({ name, dtype, shape, begin, end }) => [
    name,
    dtype,
    shape,
    begin,
    end,
  ]);
  return `headers:${sha256(JSON.stringify([folder.config, folder.files, tensors]))}`;
}

function dataHash(files: DataStats['files']): string {
  return sha256(JSON.stringify(files.map((file) => [file.sha256, file.mapping])));
}

/**
 * A run may only be resumed by itself: the same data, method and training settings. Where it reports to does not count.
 * @param readsGeneral the general data are not only measured.
 */
export function runIdentity(
  spec: RunSpec,
  data: PreparedData,
  tokenizerHash: string,
  readsGeneral: boolean,
): string {
  const { data: dataSpec, method, train, engine } = spec;
  const { template, maxLength, packing, lossOn, validation } = dataSpec;
  const split = 'fraction' in validation ? validation : 'files';
  return sha256(
    JSON.stringify([
      dataHash(data.stats.files),
      tokenizerHash,
      template,
      maxLength,
      packing,
      lossOn,
      split,
      method,
      train,
      ...(readsGeneral ? [dataHash(data.stats.generalFiles)] : []),
      // Rounded weights give other results. Runs from before there were any have no such entry.
      ...(engine.frozenExperts === 'stored' ? [] : [engine.frozenExperts]),
    ]),
  );
}

/** What the plan said before the data were read: the same estimate from the same counts, so that its error can be told. */
function estimatedSeconds(
  spec: RunSpec,
  { plan, store, session, memory }: LoadedModel,
  { stats }: PreparedData,
): NonNullable<RunFacts['estimatedSeconds']> {
  invariant(memory !== null, 'a run has a memory plan');
  const held = 'fraction' in spec.data.validation ? stats.validationExamples : 0;
  const bytes = spec.data.train.reduce((sum, file) => sum + statSync(file.path).size, 0);
  const steps = estimateSteps(spec, stats.trainExamples + held, bytes);
  const isTrained = ({ id }: Parameter) => store.isTrained(id);
  const layout = { plan, parameters: store.parameters, isTrained, session };
  const { low, high } = estimateTime(layout, memory, steps, spec);
  return { low, high };
}

/** The facts of a prepared run. */
export async function runFacts(
  spec: RunSpec,
  model: LoadedModel,
  data: PreparedData,
  tokenizerHash: string,
  totalSteps: number,
): Promise<RunFacts> {
  const { plan, store, memory } = model;
  invariant(memory !== null, 'a run has a memory plan');
  const moe = moeLayerIndices(plan);
  const shapes = routerShapes(plan);
  const rounded = roundedMatrices(store);
  const halves = halfParameters(store);
  const folder = await openModelFolder(spec.model.path);
  try {
    const count = (trainedOnly: boolean) =>
      store.parameters
        .filter((parameter) => !trainedOnly || store.isTrained(parameter.id))
        .reduce((sum, parameter) => sum + elementCount(parameter.shape), 0);
    return {
      family: plan.family,
      layers: plan.layers.length,
      moeLayers: moe.length,
      moeLayerIndices: moe,
      experts: shapes[0]?.experts ?? 0,
      expertsPerToken: shapes[0]?.expertsPerToken ?? 0,
      trainableParameters: count(true),
      totalParameters: count(false),
      totalSteps,
      trainRows: data.stats.trainExamples,
      validationRows: data.stats.validationExamples,
      ...(data.general && { generalRows: data.stats.generalExamples }),
      hashes: {
        model: await modelHash(folder),
        data: dataHash(data.stats.files),
        ...(data.general && { general: dataHash(data.stats.generalFiles) }),
        tokenizer: tokenizerHash,
        code: `condenser ${programVersion()}`,
      },
      provider: model.runtime.provider,
      threads: model.runtime.threads,
      ...(rounded > 0 && { roundedMatrices: rounded }),
      ...(halves > 0 && { halfParameters: halves }),
      estimatedMemoryMB: memory.totalMB,
      estimatedSeconds: estimatedSeconds(spec, model, data),
    };
  } finally {
    folder.close();
  }
}
