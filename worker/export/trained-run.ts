/** The trained weights of a run beside the checkpoint folder it started from. */
import { invariant } from '#core/contract/errors.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { readRunSpec } from '#core/store/index.ts';
import { openModelFolder } from '#worker/checkpoint/index.ts';
import {
  adaptedValues,
  adapterIds,
  isAdapted,
  parametersOf,
  tokenRouterParameters,
  withAdditions,
  type AdapterPlan,
  type DecoderPlan,
  type MethodSession,
  type Parameter,
} from '#worker/model/index.ts';
import { decoderOf, restoreSession, openTrainedWeights } from '#worker/train/index.ts';
import { storedValues, type ChangedModel } from './write-model.ts';

/** A run's newest checkpoint and its base model, open for reading. */
export interface TrainedRun extends ChangedModel {
  readonly spec: RunSpec;
  readonly step: number;
  /** Adapters beside the weights; null: the run has none. */
  readonly adapters: AdapterPlan | null;
  /** Values of a trained parameter by its id. */
  readonly read: (id: string) => Float32Array;
  /** The method as the checkpoint has it, for what the model computes besides its weights. */
  session(): MethodSession;
  /** Values the run started from, in float32. */
  sourceValues(parameter: Parameter): Float32Array;
  close(): void;
}

/** Opens the run in `runDir`. @throws UserError `run/no-checkpoint`, and those of the model folder. */
export async function openTrainedRun(runDir: string): Promise<TrainedRun> {
  const spec = readRunSpec(runDir);
  const source = await openModelFolder(spec.model.path);
  try {
    const weights = openTrainedWeights(runDir);
    const { family, plan: stored } = decoderOf(source);
    const plan = withAdditions(stored, weights.additions);
    const trained = new Set(weights.ids);
    const parameters = parametersOf(plan);
    const { adapters } = weights;
    checkPlaces(runDir, trained, plan, adapters);
    const sourceValues = (parameter: Parameter) => storedValues({ source, family, plan }, parameter);
    return {
      spec,
      step: weights.step,
      source,
      family,
      plan,
      parameters,
      adapters,
      read: (id) => weights.read(id),
      isChanged: (parameter) =>
        trained.has(parameter.id) || (adapters !== null && isAdapted(adapters, parameter)),
      values(parameter) {
        if (trained.has(parameter.id)) return weights.read(parameter.id);
        const values = sourceValues(parameter);
        return adapters !== null && isAdapted(adapters, parameter)
          ? adaptedValues(adapters, parameter, values, (id) => weights.read(id))
          : values;
      },
      session: () => restoreSession(spec, { family, plan: stored }, weights),
      sourceValues,
      close: () => {
        weights.close();
        source.close();
      },
    };
  } catch (error) {
    source.close();
    throw error;
  }
}

/**
 * Everything that was trained is a weight, an addition, beside a weight, or part of a token router, of which the table it makes
 * is used.
 */
function checkPlaces(
  runDir: string,
  trained: ReadonlySet<string>,
  plan: DecoderPlan,
  adapters: AdapterPlan | null,
): void {
  const parameters = parametersOf(plan);
  const parts = adapters === null ? [] : adapterIds(adapters, parameters);
  const all = [...parameters, ...tokenRouterParameters(plan, 0)];
  const places = new Set([...all.map(({ id }) => id), ...parts]);
  const lost = [...trained].find((id) => !places.has(id));
  invariant(lost === undefined, `${runDir} trained ${lost}, which has no place in a model`);
}
