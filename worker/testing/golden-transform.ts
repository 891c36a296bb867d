/** Golden cases of kind `transform`: a model folder made from another one, compared tensor by tensor and by its logits. */
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { mergeAdapters } from '#worker/export/index.ts';
import { upcycle } from '#worker/transform/index.ts';
import { GoldenTensors, type CaseDocument, type Check } from './golden-case.ts';
import { logitsCheck, weightChecks } from './golden-model-checks.ts';
import { checkPruning } from './golden-pruning.ts';

const TransformCase = z.object({
  tolerances: z.object({ weights_abs: z.number().default(0), logits_abs: z.number() }),
});

const UpcycleCase = z.object({
  options: z.object({ experts: z.int(), topK: z.int(), noise: z.number() }),
});

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
    await logitsCheck('logits, adapters beside', dir, logits_abs, modelDir, { method: beside }),
  ];
  if (kind === 'dora') return checks;
  const undone = join(made, 'undone');
  await mergeAdapters({ modelDir: merged, adapterDir, out: undone, dtype: 'source', undo: true });
  const back = weightChecks(undone, modelDir, weights_abs);
  return [...checks, ...back.map((check) => ({ ...check, name: `${check.name} (undone)` }))];
}

async function checkUpcycling(dir: string, document: CaseDocument, made: string): Promise<Check[]> {
  const { weights_abs, logits_abs } = TransformCase.parse(document).tolerances;
  const { experts, topK, noise } = UpcycleCase.parse(document).options;
  const drawn = new GoldenTensors(join(dir, 'batch.safetensors'));
  const projections = new Map<string, string>([
    ['expertGate', 'gate'],
    ['expertUp', 'up'],
    ['expertDown', 'down'],
  ]);
  const out = join(made, 'upcycled');
  await upcycle({
    modelDir: join(dir, 'model'),
    out,
    experts,
    expertsPerToken: topK,
    every: 1,
    dtype: 'source',
    draws: {
      router: ({ layer }) => drawn.floats(`router.${layer}`),
      noise: ({ layer, expert, role }) =>
        noise === 0 ? null : drawn.floats(`noise.${layer}.${expert}.${projections.get(role)}`),
    },
  });
  return [
    ...weightChecks(out, join(dir, 'expected_model'), weights_abs),
    await logitsCheck('logits', dir, logits_abs, out),
    await logitsCheck('logits, dense', dir, logits_abs, join(dir, 'model'), { tensor: 'dense_logits' }),
  ];
}

/** Runs a `transform` case. @param made an empty folder to write to. */
export async function checkTransformCase(
  dir: string,
  document: CaseDocument,
  made: string,
): Promise<Check[]> {
  switch (document.method) {
    case 'merge-lora':
    case 'merge-dora':
      return checkMerge(dir, document, made);
    case 'sparse-upcycling':
      return checkUpcycling(dir, document, made);
    case 'prune-intermediate':
      return checkPruning(dir, document, made);
    default:
      throw new UserError('parity/unsupported', `transform ${String(document.method)} is not supported yet`);
  }
}
