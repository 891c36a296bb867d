/** The trained weights of a run beside the checkpoint folder it started from. */
import { UserError } from '#core/contract/errors.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { readRunSpec } from '#core/store/index.ts';
import { openModelFolder } from '#worker/checkpoint/index.ts';
import { familyOf } from '#worker/families/index.ts';
import {
  adaptedValues,
  adapterIds,
  isAdapted,
  parametersOf,
  type AdapterPlan,
  type Parameter,
} from '#worker/model/index.ts';
import { openTrainedWeights, storedValues, type ChangedModel } from '#worker/train/index.ts';

/** A run's newest checkpoint and its base model, open for reading. */
export interface TrainedRun extends ChangedModel {
  readonly spec: RunSpec;
  readonly step: number;
  /** Adapters beside the weights; null: the run has none. */
  readonly adapters: AdapterPlan | null;
  /** Values of a trained parameter by its id. */
  readonly read: (id: string) => Float32Array;
  /** Values the run started from, in float32. */
  sourceValues(parameter: Parameter): Float32Array;
  close(): void;
}

/** Opens the run in `runDir`. @throws UserError `run/no-checkpoint`, and those of the model folder. */
export async function openTrainedRun(runDir: string): Promise<TrainedRun> {
  const spec = readRunSpec(runDir);
  const source = await openModelFolder(spec.model.path);
  try {
    const family = familyOf(source.config);
    const plan = family.plan(source.config);
    const weights = openTrainedWeights(runDir);
    const trained = new Set(weights.ids);
    const parameters = parametersOf(plan);
    const { adapters } = weights;
    checkPlaces(runDir, trained, parameters, adapters);
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

/** @throws UserError `export/no-place` when something was trained that a published model cannot hold. */
function checkPlaces(
  runDir: string,
  trained: ReadonlySet<string>,
  parameters: readonly Parameter[],
  adapters: AdapterPlan | null,
): void {
  const parts = adapters === null ? [] : adapterIds(adapters, parameters);
  const places = new Set([...parameters.map(({ id }) => id), ...parts]);
  const lost = [...trained].find((id) => !places.has(id));
  if (lost === undefined) return;
  throw new UserError(
    'export/no-place',
    `${runDir} trained ${lost}, which the published model has no place for`,
    'Its run directory is the only place such a model can be used from.',
  );
}
