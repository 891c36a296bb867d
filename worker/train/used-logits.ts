/** What a trained model computes once everything is merged into its weights, by the engine itself. */
import { Arena, createKernels } from '#worker/kernels/index.ts';
import { decodeFloats, type FloatDtype } from '#worker/checkpoint/index.ts';
import { Executor, ParameterStore, type MicroBatch } from '#worker/engine/index.ts';
import type { AddedParameter, MethodSession, Parameter } from '#worker/model/index.ts';
import { createRuntime } from '#worker/runtime/index.ts';
import { placeOf, type ChangedModel } from './write-model.ts';

/** Tokens of each row of a probe, before and behind them padding. */
const ROWS = [
  { before: 0, tokens: 24 },
  { before: 0, tokens: 9 },
  { before: 5, tokens: 19 },
  { before: 0, tokens: 1 },
];

/** A batch of rows of several lengths, one of them padded in front, and the flat positions of its tokens. */
export function probeBatch(vocabulary: number): { readonly batch: MicroBatch; readonly at: Int32Array } {
  const sequence = Math.max(...ROWS.map(({ before, tokens }) => before + tokens));
  const segments = Int32Array.from({ length: ROWS.length * sequence }, (_, flat) => {
    const { before, tokens } = ROWS[Math.floor(flat / sequence)] ?? { before: 0, tokens: 0 };
    const place = flat % sequence;
    return place >= before && place < before + tokens ? 1 : 0;
  });
  const batch = {
    batch: ROWS.length,
    sequence,
    inputIds: segments.map((isToken, flat) => isToken * ((5 + 7919 * flat) % vocabulary)),
    labels: segments.map(() => -100),
    positions: segments.map((_, flat) => flat % sequence),
    segments,
  };
  return { batch, at: Int32Array.from(segments.keys()).filter((flat) => segments[flat] === 1) };
}

/**
 * Logits `[rows of at, vocabulary]` of the weights as an export has them.
 * @param written how a parameter is written, and its bytes then.
 */
export async function usedLogits(
  model: ChangedModel,
  session: MethodSession,
  batch: MicroBatch,
  at: Int32Array,
  written: {
    readonly typeOf: (id: string) => FloatDtype;
    readonly encoded: (parameter: Parameter) => Uint8Array;
  },
): Promise<Float32Array> {
  const { source, family, plan } = model;
  const arena = new Arena();
  const runtime = createRuntime();
  const kernels = createKernels(arena, runtime.threads);
  try {
    const parameters = model.parameters.map((parameter): Parameter | AddedParameter => {
      const type = written.typeOf(parameter.id);
      const stored = source.tensors.get(placeOf(model, parameter)?.name ?? '')?.dtype;
      const isExact = !model.isChanged(parameter) && (type === 'F32' || type === stored);
      return isExact
        ? parameter
        : { ...parameter, initial: () => decodeFloats(written.encoded(parameter), type) };
    });
    const store = ParameterStore.load({
      folder: source,
      family,
      plan,
      parameters,
      isTrained: () => false,
      // One pass reads each of them once.
      isStreamed: ({ expert }) => expert !== null,
      arena,
      kernels,
    });
    const executor = new Executor({ plan, store, session, runtime, arena, kernels });
    return (await executor.logits(batch, at)).logits;
  } finally {
    kernels.release();
    runtime.release();
  }
}
