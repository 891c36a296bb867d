/** What a checkpoint of the trainer holds, and putting it back. */
import { z } from 'zod';
import { UserError, invariant } from '#core/contract/errors.ts';
import {
  decodeFloats,
  openLatestCheckpoint,
  saveCheckpoint,
  type JsonValue,
  type NamedTensor,
  type SafetensorsFile,
  type SavedCheckpoint,
} from '#worker/checkpoint/index.ts';
import type { LoaderState } from '#worker/data/index.ts';
import type { ParameterStore, TrainedPart } from '#worker/engine/index.ts';
import { Additions, type AdapterPlan, type MethodSession } from '#worker/model/index.ts';
import { AdapterState, fromState, toState } from './adapter-state.ts';

const State = z.object({
  version: z.literal(1),
  /** Optimizer steps done. */
  step: z.int(),
  loader: z.object({ seed: z.int(), epoch: z.int(), position: z.int() }),
  method: z.unknown(),
  /** What the adapters among the tensors mean. */
  adapters: AdapterState.default(null),
  /** What the additions among the tensors mean. */
  additions: Additions.prefault({}),
  /** What must be equal for a resumed run to be the same run. */
  identity: z.string(),
});

/** The state at a boundary between optimizer steps, when no gradient is pending. */
export interface Boundary {
  readonly step: number;
  readonly loader: LoaderState;
  readonly method: unknown;
}

function* tensorsOf(store: ParameterStore): Generator<NamedTensor> {
  for (const { parameter, parts } of store.trainedParts()) {
    for (const { name, dtype, data } of parts) {
      const shape = name.endsWith('Scales') ? [data.byteLength / 4] : parameter.shape;
      yield { name: `${name}.${parameter.id}`, dtype, shape, data };
    }
  }
}

/** Writes a checkpoint. The weights must be those of `boundary`: no optimizer step since. */
export function saveTrainer(
  runDir: string,
  boundary: Boundary,
  store: ParameterStore,
  { adapters = null, additions = {} }: Pick<MethodSession, 'adapters' | 'additions'>,
  identity: string,
  keep: number,
): SavedCheckpoint {
  const { step, loader, method } = boundary;
  const state = {
    version: 1,
    step,
    loader,
    method,
    adapters: toState(adapters),
    additions: Additions.parse(additions),
    identity,
  } as unknown as JsonValue;
  return saveCheckpoint(runDir, step, { tensors: tensorsOf(store), state, keep });
}

/** What was restored, and what had to be passed over. */
export interface Restored {
  readonly step: number;
  readonly loader: LoaderState;
  readonly warnings: readonly string[];
}

/**
 * Puts the newest usable checkpoint of a run back into `store` and `session`.
 * @throws UserError `resume/no-checkpoint`, `resume/different-run`.
 */
export function restoreTrainer(
  runDir: string,
  store: ParameterStore,
  session: MethodSession,
  identity: string,
): Restored {
  const checkpoint = openLatestCheckpoint(runDir);
  if (checkpoint === undefined) {
    throw new UserError(
      'resume/no-checkpoint',
      `${runDir} has no checkpoint to resume from`,
      'Start the run from the beginning.',
    );
  }
  try {
    const state = State.parse(checkpoint.state);
    const adapters = toState(session.adapters ?? null);
    if (state.identity !== identity || JSON.stringify(state.adapters) !== JSON.stringify(adapters)) {
      throw new UserError(
        'resume/different-run',
        `${checkpoint.info.path} was made with other settings, other data or another model`,
        'Resume with the run.json of the run, or start a new run.',
      );
    }
    for (const { parameter, parts } of store.trainedParts()) {
      for (const part of parts) readPart(checkpoint.tensors, `${part.name}.${parameter.id}`, part);
    }
    session.restore(state.method);
    const warnings = checkpoint.damaged.map(
      ({ step, reason }) => `Checkpoint of step ${step} is damaged and was passed over: ${reason}`,
    );
    return { step: state.step, loader: state.loader, warnings };
  } finally {
    checkpoint.tensors.close();
  }
}

function readPart(file: SafetensorsFile, name: string, { dtype, data }: TrainedPart): void {
  const entry = file.tensors.get(name);
  invariant(
    entry?.dtype === dtype && entry.end - entry.begin === data.byteLength,
    `checkpoint tensor ${name} does not fit`,
  );
  file.readInto(name, data);
}

/** Trained weights of a run's newest checkpoint, by parameter id, read one at a time. The caller calls `close`. */
export function openTrainedWeights(runDir: string): {
  readonly step: number;
  readonly ids: readonly string[];
  readonly method: unknown;
  readonly adapters: AdapterPlan | null;
  readonly additions: Additions;
  read(id: string): Float32Array;
  close(): void;
} {
  const checkpoint = openLatestCheckpoint(runDir);
  if (checkpoint === undefined) {
    throw new UserError(
      'run/no-checkpoint',
      `${runDir} has no checkpoint`,
      'Train the run until its first checkpoint.',
    );
  }
  const { tensors } = checkpoint;
  const state = State.parse(checkpoint.state);
  return {
    step: state.step,
    method: state.method,
    adapters: fromState(state.adapters),
    additions: state.additions,
    ids: [...tensors.tensors.keys()].flatMap((name) =>
      name.startsWith('weight.') ? [name.slice('weight.'.length)] : [],
    ),
    read(id) {
      const entry = tensors.tensors.get(`weight.${id}`);
      invariant(entry !== undefined, `checkpoint has no weight of ${id}`);
      const bytes = new Uint8Array(entry.end - entry.begin);
      tensors.readInto(entry.name, bytes);
      return decodeFloats(bytes, 'F32');
    },
    close: () => tensors.close(),
  };
}
