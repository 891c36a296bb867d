/** Which experts a method would train, from the user's data and before a run. */
import { UserError } from '#core/contract/errors.ts';
import type { ExpertPreview } from '#core/contract/method.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { createLoader, openTokenizer, prepareData } from '#worker/data/index.ts';
import { sampleTokensOf, startMethod } from '#worker/methods/index.ts';
import { elementCount, moeLayerIndices, parametersUnder, trains } from '#worker/model/index.ts';
import { measureExperts } from './expert-scores.ts';
import { loadModel } from './load-model.ts';
import { memoryBudgetMB, planMemory } from './memory-plan.ts';
import { methodContext } from './method-context.ts';

/** Shares of the routing that are looked at beside the one that is asked for: every twentieth. */
const SHARES = Array.from({ length: 20 }, (_, twentieth) => (twentieth + 1) / 20);

/**
 * Routes the sample of a run through the untouched model, as the run would before its first step, and says which experts
 * would train for several shares of the routing.
 * @param cacheDir where tokenized data are kept.
 * @throws UserError `plan/no-experts` for a method that does not choose by a sample; everything wrong with model and data.
 */
export async function previewExperts(spec: RunSpec, cacheDir: string): Promise<ExpertPreview> {
  const { name, options } = spec.method;
  const tokens = sampleTokensOf(name, options);
  if (tokens === 0) {
    throw new UserError(
      'plan/no-experts',
      `method ${name} with these options does not choose experts by a sample of the data`,
      'Choose esft without expertConfig, or plan without a preview of experts.',
    );
  }
  const { model: at, data: dataSpec, train, engine } = spec;
  const tokenizer = await openTokenizer(at.path);
  const model = await loadModel({
    modelDir: at.path,
    method: { name: 'full', options: {} },
    trains: false,
    threads: engine.threads,
    planMemory: (layout) => planMemory(layout, spec, memoryBudgetMB(spec)),
  });
  try {
    const { plan, family, store } = model;
    const data = await prepareData(dataSpec, {
      tokenizer,
      cacheDir,
      seed: train.seed,
      modelVocabSize: plan.vocabularySize,
    });
    try {
      const { microBatch, seed } = train;
      const { maxLength, packing } = dataSpec;
      const loader = { microBatch, maxLength, packing, seed, padId: tokenizer.padId ?? 0, shuffle: true };
      const scores = await measureExperts(model, createLoader(data.train, loader).pass(), tokens);
      const context = methodContext(family, plan, { expertScores: scores, submatrices: null, seed });
      const chosenAt = (more: Readonly<Record<string, unknown>>) => {
        const session = startMethod(name, { ...options, ...more }, context);
        const trained = parametersUnder(plan, session).filter((parameter) => trains(session, parameter));
        const bytesOf = (id: string) => (store.dtype(id) === 'float32' ? 4 : 2);
        return {
          experts: (session.routerState().expertConfig?.experts ?? []).map((experts) => [...experts]),
          trainableParameters: trained.reduce((sum, { shape }) => sum + elementCount(shape), 0),
          storedBytes: trained.reduce((sum, { id, shape }) => sum + elementCount(shape) * bytesOf(id), 0),
        };
      };
      const asked = chosenAt({});
      return {
        layers: moeLayerIndices(plan),
        scores: (options['score'] === 'gate' ? scores.gate : scores.token).map((layer) => [...layer]),
        ...asked,
        shares: SHARES.map((share) => ({ share, ...chosenAt({ share }) })),
      };
    } finally {
      data.close();
    }
  } finally {
    model.close();
  }
}
