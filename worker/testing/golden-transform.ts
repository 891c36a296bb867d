/** Golden cases of kind `transform`: a model folder made from another one, compared tensor by tensor and by its logits. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { loadModel, mergeAdapters } from '#worker/train/index.ts';
import { goldenBatch } from './golden-batch.ts';
import { GoldenTensors, absoluteCheck, type CaseDocument, type Check } from './golden-case.ts';

const TransformCase = z.object({
  tolerances: z.object({ weights_abs: z.number(), logits_abs: z.number() }),
});

/** Logits of every position of the case's batch that is not padding. */
async function logitsCheck(
  name: string,
  dir: string,
  limit: number,
  modelDir: string,
  method: { readonly name: string; readonly options: Record<string, unknown> } = {
    name: 'full',
    options: {},
  },
): Promise<Check> {
  const batch = goldenBatch(new GoldenTensors(join(dir, 'batch.safetensors')));
  const model = await loadModel({ modelDir, method, trains: false });
  try {
    const { logits } = await model.executor.logits(
      batch,
      Int32Array.from(batch.inputIds, (_, i) => i),
    );
    const want = new GoldenTensors(join(dir, 'expected.safetensors')).floats('logits');
    const real = (i: number) => (batch.segments[Math.floor(i / model.plan.vocabularySize)] ?? 0) > 0;
    return absoluteCheck(name, logits, want, limit, real);
  } finally {
    model.close();
  }
}

/** The tensors of the model in `got` against those of `want`. */
function weightChecks(got: string, want: string, limit: number): Check[] {
  const [made, expected] = [got, want].map((dir) => new GoldenTensors(join(dir, 'model.safetensors')));
  return (expected?.names ?? []).map((name) =>
    absoluteCheck(name, made?.floats(name) ?? [], expected?.floats(name) ?? [], limit),
  );
}

async function checkMerge(dir: string, document: CaseDocument, made: string): Promise<Check[]> {
  const { weights_abs, logits_abs } = TransformCase.parse(document).tolerances;
  const [modelDir, adapterDir] = [join(dir, 'model'), join(dir, 'adapter')];
  const merged = join(made, 'merged');
  await mergeAdapters({ modelDir, adapterDir, out: merged, dtype: 'source', undo: false });
  const kind = document.method === 'merge-dora' ? 'dora' : 'lora';
  const beside = { name: kind, options: { adapterFolder: adapterDir } };
  const checks = [
    ...weightChecks(merged, join(dir, 'expected_model'), weights_abs),
    await logitsCheck('logits, merged', dir, logits_abs, merged),
    await logitsCheck('logits, adapters beside', dir, logits_abs, modelDir, beside),
  ];
  if (kind === 'dora') return checks;
  const undone = join(made, 'undone');
  await mergeAdapters({ modelDir: merged, adapterDir, out: undone, dtype: 'source', undo: true });
  const back = weightChecks(undone, modelDir, weights_abs);
  return [...checks, ...back.map((check) => ({ ...check, name: `${check.name} (undone)` }))];
}

/** Runs a `transform` case. */
export async function checkTransformCase(dir: string, document: CaseDocument): Promise<Check[]> {
  const made = mkdtempSync(join(tmpdir(), 'condenser-golden-'));
  try {
    switch (document.method) {
      case 'merge-lora':
      case 'merge-dora':
        return await checkMerge(dir, document, made);
      default:
        throw new UserError(
          'parity/unsupported',
          `transform ${String(document.method)} is not supported yet`,
        );
    }
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}
