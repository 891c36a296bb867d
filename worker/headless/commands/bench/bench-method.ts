/** The method that `bench` measures, with options that show what it costs. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { withTemporaryFolder } from '#core/process/temporary-folder.ts';
import type { MicroBatch } from '#worker/engine/index.ts';
import { moeLayerIndices, topK } from '#worker/model/index.ts';
import {
  anySubmatrices,
  decoderPlanOf,
  loadModel,
  type LoadRequest,
  type LoadedModel,
} from '#worker/train/index.ts';

/** The part of each layer's experts that expert-specialised fine-tuning trains here: those `sample` uses most. */
const ESFT_SHARE = 0.2;

/** Loads a model under `method`. Those that cost more in one phase than in another are measured in the dearer one. */
export async function loadForBench(
  modelDir: string,
  method: string,
  held: Required<Pick<LoadRequest, 'moments' | 'frozenExperts' | 'deviceWeights'>>,
  sample: MicroBatch,
  runtime: NonNullable<LoadRequest['runtime']>,
): Promise<LoadedModel> {
  const load = (options: Readonly<Record<string, unknown>>, from: LoadedModel | null = null) =>
    loadModel({ modelDir, method: { name: method, options }, ...held, runtime, from });
  switch (method) {
    case 'expert-condenser':
      return load({ phase: 'both', phaseSplit: 1e-6 });
    case 'evomoe':
      return load({ fallSteps: 1_000_000 });
    case 'stablemoe':
      return load({ stageSplit: 1 });
    case 'esft':
      return withTemporaryFolder('bench', async (folder) => {
        const untouched = await loadModel({
          modelDir,
          method: { name: 'full', options: {} },
          trains: false,
          frozenExperts: held.frozenExperts,
        });
        const experts = await mostUsedExperts(untouched, sample);
        writeFileSync(
          path.join(folder, 'expert_cfg.json'),
          JSON.stringify({ experts, shared_experts: false, non_expert_modules: false }),
        );
        return load({ expertConfig: folder }, untouched);
      });
    case 'smt': {
      const request = { name: method, options: {} };
      const submatrices = anySubmatrices(request, await decoderPlanOf(modelDir));
      return loadModel({ modelDir, method: request, submatrices, ...held, runtime });
    }
    default:
      return load({});
  }
}

/** The most used experts of each layer on a sample, by decoder layer. */
async function mostUsedExperts(
  { plan, executor }: LoadedModel,
  sample: MicroBatch,
): Promise<Record<number, number[]>> {
  const { routing } = await executor.logits(sample, new Int32Array(0));
  const layers = moeLayerIndices(plan);
  return Object.fromEntries(
    routing.map(({ choice, weights_NE }, index) => {
      const experts = weights_NE.length / sample.inputIds.length;
      const counts_E = new Float32Array(experts);
      for (const expert of choice.chosen_NK) counts_E[expert] = (counts_E[expert] ?? 0) + 1;
      const wanted = Math.max(1, Math.round(ESFT_SHARE * experts));
      return [layers[index] ?? index, [...topK(counts_E, 1, experts, wanted)]];
    }),
  );
}
