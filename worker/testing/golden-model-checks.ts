/** Checks of a model folder that a transform wrote: its tensors and its logits. */
import { join } from 'node:path';
import { loadModel } from '#worker/train/index.ts';
import { goldenBatch } from './golden-batch.ts';
import { GoldenTensors, absoluteCheck, equalCheck, type Check } from './golden-case.ts';

/** What is compared, where it is not the plain model on the only batch. */
interface LogitsOptions {
  /** Name of the expected logits. */
  readonly tensor?: string;
  /** Of the batch's tensors. */
  readonly prefix?: string;
  readonly method?: { readonly name: string; readonly options: Record<string, unknown> };
}

/** Logits of the model in `modelDir` at every position of the batch of case `dir` that is not padding. */
export async function logitsCheck(
  name: string,
  dir: string,
  limit: number,
  modelDir: string,
  { tensor = 'logits', prefix = '', method = { name: 'full', options: {} } }: LogitsOptions = {},
): Promise<Check> {
  const batch = goldenBatch(new GoldenTensors(join(dir, 'batch.safetensors')), prefix);
  const model = await loadModel({ modelDir, method, trains: false });
  try {
    const { logits } = await model.executor.logits(
      batch,
      Int32Array.from(batch.inputIds, (_, i) => i),
    );
    const want = new GoldenTensors(join(dir, 'expected.safetensors')).floats(tensor);
    const real = (i: number) => (batch.segments[Math.floor(i / model.plan.vocabularySize)] ?? 0) > 0;
    return absoluteCheck(name, logits, want, limit, real);
  } finally {
    model.close();
  }
}

/** The tensors of the model in `got` against those of `want`, which are all there is. */
export function weightChecks(got: string, want: string, limit: number): Check[] {
  const [made, expected] = [got, want].map((dir) => new GoldenTensors(join(dir, 'model.safetensors')));
  return [
    equalCheck('number of tensors', [made?.names.length ?? 0], [expected?.names.length ?? NaN]),
    ...(expected?.names ?? []).map((name) =>
      absoluteCheck(name, made?.floats(name) ?? [], expected?.floats(name) ?? [], limit),
    ),
  ];
}
