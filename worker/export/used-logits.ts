/** What a trained model computes once everything is merged into its weights, by the engine itself. */
import { decodeFloats, type FloatDtype } from '#worker/checkpoint/index.ts';
import { Executor, ParameterStore, type MicroBatch } from '#worker/engine/index.ts';
import { Arena, createKernels } from '#worker/kernels/index.ts';
import type { AddedParameter, MethodSession, Parameter } from '#worker/model/index.ts';
import { createRuntime } from '#worker/runtime/index.ts';
import { placeOf, type ChangedModel } from './write-model.ts';

/** Tokens of a row of each shape, and how many places of padding are before them. */
const SHAPES = [
  { before: 0, tokens: 24 },
  { before: 0, tokens: 9 },
  { before: 5, tokens: 19 },
  { before: 0, tokens: 1 },
];

/** Rows of each shape. */
const COPIES = 3;

/** What is computed to compare programs. */
export interface Probe {
  /** Flat positions of the tokens of all rows in turn. */
  readonly at: Int32Array;
  /** Each row is the part of `at` that begins at `from` and ends before `to`. */
  readonly rows: readonly { readonly shape: number; readonly from: number; readonly to: number }[];
}

/** A batch of rows of several lengths, some of them padded in front, and all but the longest behind. */
export function probeBatch(vocabulary: number): { readonly batch: MicroBatch; readonly probe: Probe } {
  const shapes = Array.from({ length: COPIES }, () => SHAPES).flat();
  const sequence = Math.max(...SHAPES.map(({ before, tokens }) => before + tokens));
  const segments = new Int32Array(shapes.length * sequence);
  const rows: Probe['rows'][number][] = [];
  let from = 0;
  shapes.forEach(({ before, tokens }, row) => {
    segments.fill(1, row * sequence + before, row * sequence + before + tokens);
    rows.push({ shape: row % SHAPES.length, from, to: from + tokens });
    from += tokens;
  });
  const batch = {
    batch: shapes.length,
    sequence,
    inputIds: segments.map((isToken, flat) => isToken * ((5 + 7919 * flat) % vocabulary)),
    labels: segments.map(() => -100),
    positions: segments.map((_, flat) => flat % sequence),
    segments,
  };
  return {
    batch,
    probe: { at: segments.map((_, flat) => flat).filter((flat) => segments[flat] === 1), rows },
  };
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
