/** Golden cases of pruning: scores of neurons, which are dropped in each scope, and the checkpoints without them. */
import { join } from 'node:path';
import { z } from 'zod';
import { openModelFolder } from '#worker/checkpoint/index.ts';
import { moeLayerIndices } from '#worker/model/index.ts';
import { loadModel } from '#worker/train/index.ts';
import {
  pruneScopes,
  scoreNeurons,
  selectNeurons,
  writePruned,
  type DroppedNeurons,
  type PrunedLayout,
} from '#worker/transform/index.ts';
import { goldenBatch } from './golden-batch.ts';
import {
  GoldenTensors,
  absoluteCheck,
  equalCheck,
  relativeCheck,
  type CaseDocument,
  type Check,
} from './golden-case.ts';
import { logitsCheck, weightChecks } from './golden-model-checks.ts';

const PruneCase = z.object({
  options: z.object({
    scope: z.enum(pruneScopes),
    ratio: z.number(),
    layout: z.enum(['structural', 'ragged flat_gate_up_down_v1']),
  }),
  tolerances: z.object({ score_rel: z.number(), logits_abs: z.number() }),
  expected: z.object({
    sample_losses: z.array(z.number()),
    /** Scope → layer → expert → neurons. */
    dropped: z.record(z.enum(pruneScopes), z.record(z.string(), z.record(z.string(), z.array(z.int())))),
  }),
});

const scoreNames = ['meanAbsGrad', 'fisher', 'taylor', 'magnitude'] as const;

/** Runs a `prune-intermediate` case. @param made an empty folder to write to. */
export async function checkPruning(dir: string, document: CaseDocument, made: string): Promise<Check[]> {
  const { options, tolerances, expected } = PruneCase.parse(document);
  const modelDir = join(dir, 'model');
  const inputs = new GoldenTensors(join(dir, 'batch.safetensors'));
  const outputs = new GoldenTensors(join(dir, 'expected.safetensors'));
  const samples = expected.sample_losses.map((_, i) => {
    const batch = goldenBatch(inputs, `sample${i}.`);
    return { ...batch, labels: batch.inputIds };
  });
  const checks: Check[] = [];
  const kept = new Map<string, DroppedNeurons>();
  const model = await loadModel({
    modelDir,
    method: { name: 'full', options: {} },
    trains: ({ expert }) => expert !== null,
  });
  try {
    const layers = moeLayerIndices(model.plan);
    for (const name of scoreNames) {
      const { scores_LEI, losses } = await scoreNeurons(model, name, samples);
      layers.forEach((layer, l) => {
        const all = (scores_LEI[l] ?? []).flatMap((scores_I) => [...scores_I]);
        const want = outputs.floats(`score.${name}.${layer}`);
        checks.push(relativeCheck(`score.${name}.${layer}`, all, want, tolerances.score_rel));
      });
      if (name !== 'meanAbsGrad') continue;
      checks.push(absoluteCheck('sample losses', losses, expected.sample_losses, tolerances.logits_abs));
      for (const scope of pruneScopes) {
        const dropped = selectNeurons(scores_LEI, scope, options.ratio);
        kept.set(scope, dropped);
        layers.forEach((layer, l) =>
          dropped[l]?.forEach((neurons, e) => {
            const want = expected.dropped[scope][layer]?.[e] ?? [-1];
            checks.push(equalCheck(`dropped, scope ${scope}, layer ${layer}, expert ${e}`, neurons, want));
          }),
        );
      }
    }
  } finally {
    model.close();
  }
  const source = await openModelFolder(modelDir);
  try {
    const dropped = kept.get(options.scope) ?? [];
    const from = { source, family: model.family, plan: model.plan, dropped };
    const write = async (layout: PrunedLayout) => {
      const out = join(made, layout);
      await writePruned(from, { out, layout, dtype: 'source', extraFiles: new Map() });
      return out;
    };
    const layout = options.layout === 'structural' ? 'structural' : 'ragged';
    const [masked, pruned] = [await write('mask'), await write(layout)];
    const first = { tensor: 'masked_logits', prefix: 'sample0.' };
    checks.push(
      ...weightChecks(pruned, join(dir, 'expected_model'), 0),
      await logitsCheck('logits, masked', dir, tolerances.logits_abs, masked, first),
    );
    checks.push(await logitsCheck(`logits, ${layout}`, dir, tolerances.logits_abs, pruned, first));
  } finally {
    source.close();
  }
  return checks;
}
