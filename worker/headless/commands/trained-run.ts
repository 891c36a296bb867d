/** The trained weights of a run beside the checkpoint folder it started from. */
import { UserError, invariant } from '#core/contract/errors.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { readRunSpec } from '#core/store/index.ts';
import { decodeFloats, isFloatDtype, openModelFolder, type ModelFolder } from '#worker/checkpoint/index.ts';
import { locateParameter, readLocated } from '#worker/engine/index.ts';
import { familyOf } from '#worker/families/index.ts';
import {
  adapterParameters,
  mergeAdapter,
  parametersOf,
  type AdapterPlan,
  type AdapterValues,
  type DecoderPlan,
  type Family,
  type Parameter,
} from '#worker/model/index.ts';
import { openTrainedWeights } from '#worker/train/index.ts';

/** A run's newest checkpoint and its base model, open for reading. */
export interface TrainedRun {
  readonly spec: RunSpec;
  readonly step: number;
  readonly source: ModelFolder;
  readonly family: Family;
  readonly plan: DecoderPlan;
  readonly parameters: readonly Parameter[];
  /** Whether its values differ from those of the source, by itself or by an adapter. */
  isTrained(parameter: Parameter): boolean;
  /** Trained values where there are any, with its adapter where it has one, else those of the source; in float32. */
  values(parameter: Parameter): Float32Array;
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
    const sourceValues = (parameter: Parameter): Float32Array => {
      const located = locateParameter(source, family, plan, parameter);
      const { entry } = located;
      invariant(isFloatDtype(entry.dtype), `${entry.name} is ${entry.dtype} and was trained`);
      const target = new Uint8Array(located.bytes);
      readLocated(source, located, target);
      return decodeFloats(target, entry.dtype);
    };
    return {
      spec,
      step: weights.step,
      source,
      family,
      plan,
      parameters,
      isTrained: ({ id, role }) => trained.has(id) || (adapters?.roles.has(role) ?? false),
      values(parameter) {
        if (trained.has(parameter.id)) return weights.read(parameter.id);
        const values = sourceValues(parameter);
        return adapters?.roles.has(parameter.role)
          ? mergeAdapter(
              values,
              adapterOf(parameter, adapters, (id) => weights.read(id)),
              adapters,
            )
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
  const parts = adapters === null ? [] : adapterParameters(parameters, adapters);
  const places = new Set([...parameters, ...parts].map(({ id }) => id));
  const lost = [...trained].find((id) => !places.has(id));
  if (lost === undefined) return;
  throw new UserError(
    'export/no-place',
    `${runDir} trained ${lost}, which the published model has no place for`,
    'Its run directory is the only place such a model can be used from.',
  );
}

/** The values of the adapter beside `weight`. */
function adapterOf(
  weight: Parameter,
  adapters: AdapterPlan,
  read: (id: string) => Float32Array,
): AdapterValues {
  const parts = new Map(adapterParameters([weight], adapters).map(({ id, part }) => [part, read(id)]));
  const [loraA, loraB] = [parts.get('loraA'), parts.get('loraB')];
  invariant(loraA !== undefined && loraB !== undefined, 'an adapter has two matrices');
  return { loraA, loraB, magnitude: parts.get('magnitude') ?? null };
}
