/** The trained weights of a run beside the checkpoint folder it started from. */
import { invariant } from '#core/contract/errors.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { readRunSpec } from '#core/store/index.ts';
import { decodeFloats, isFloatDtype, openModelFolder, type ModelFolder } from '#worker/checkpoint/index.ts';
import { locateParameter, readLocated } from '#worker/engine/index.ts';
import { familyOf } from '#worker/families/index.ts';
import { parametersOf, type DecoderPlan, type Family, type Parameter } from '#worker/model/index.ts';
import { openTrainedWeights } from '#worker/train/index.ts';

/** A run's newest checkpoint and its base model, open for reading. */
export interface TrainedRun {
  readonly spec: RunSpec;
  readonly step: number;
  readonly source: ModelFolder;
  readonly family: Family;
  readonly plan: DecoderPlan;
  readonly parameters: readonly Parameter[];
  isTrained(parameter: Parameter): boolean;
  /** Trained values where there are any, else those of the source, in float32. */
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
      parameters: parametersOf(plan),
      isTrained: ({ id }) => trained.has(id),
      values: (parameter) =>
        trained.has(parameter.id) ? weights.read(parameter.id) : sourceValues(parameter),
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
