/** Which experts a method would train, from the user's data and before a run. */
import { UserError } from '#core/contract/errors.ts';
import type { ExpertPreview } from '#core/contract/method.ts';
import { methodLabel, methodsIn, togetherAs } from '#core/contract/methods-together.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { createLoader, openTokenizer, prepareData } from '#worker/data/index.ts';
import { sampleTokensOf, startMethod } from '#worker/methods/index.ts';
import {
  elementCount,
  moeLayerIndices,
  parametersUnder,
  trains,
  type ExpertScores,
} from '#worker/model/index.ts';
import { memoryBudgetMB, planMemory } from '#worker/plan/index.ts';
import { measureExperts } from './expert-scores.ts';
import { loadModel } from './load-model.ts';
import { evenScores, methodContext } from './method-context.ts';
import { anySubmatrices } from './warm-up.ts';

/** Shares of the routing that are looked at beside the one that is asked for: every twentieth. */
const SHARES = Array.from({ length: 20 }, (_, twentieth) => (twentieth + 1) / 20);

/**
 * Routes the sample of a run through the untouched model, as the run would before its first step, and says which experts
 * would train for several shares of the routing.
 * @param cacheDir where tokenized data are kept.
 * @throws UserError `plan/no-experts` for a method that does not choose by a sample; everything wrong with model and data.
 */
export async function previewExperts(spec: RunSpec, cacheDir: string): Promise<ExpertPreview> {
  const methods = methodsIn(spec.method);
  const choosing = methods.find(({ name, options }) => sampleTokensOf(name, options) > 0);
  if (choosing === undefined) {
    throw new UserError(
      'plan/no-experts',
      `method ${methodLabel(spec.method)} with these options does not choose experts by a sample of the data`,
      'Choose esft without expertConfig, or plan without a preview of experts.',
    );
  }
  const tokens = sampleTokensOf(choosing.name, choosing.options);
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
    const layers = moeLayerIndices(plan);
    const chosenWith = (scores: ExpertScores, more: Readonly<Record<string, unknown>> = {}) => {
      const { name, options } = togetherAs(
        methods.map((method) =>
          method === choosing ? { ...method, options: { ...method.options, ...more } } : method,
        ),
      );
      const submatrices = anySubmatrices(spec.method, plan);
      const context = methodContext(family, plan, { expertScores: scores, submatrices, seed: train.seed });
      const session = startMethod(name, options, context);
      const trained = parametersUnder(plan, session).filter((parameter) => trains(session, parameter));
      // What a method adds has no type in the checkpoint, and is written as float32.
      const bytesOf = (id: string) => ((store.heldDtype(id) ?? 'float32') === 'float32' ? 4 : 2);
      const trainedExperts = new Set(trained.map(({ layer, expert }) => `${layer} ${expert}`));
      return {
        // What ESFT chooses, another method may hold as it is.
        experts: (session.routerState().expertConfig?.experts ?? []).map((experts, index) =>
          experts.filter((expert) => trainedExperts.has(`${layers[index]} ${expert}`)),
        ),
        trainableParameters: trained.reduce((sum, { shape }) => sum + elementCount(shape), 0),
        storedBytes: trained.reduce((sum, { id, shape }) => sum + elementCount(shape) * bytesOf(id), 0),
      };
    };
    // Methods that do not go together are told before a sample is routed.
    chosenWith(evenScores(plan));
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
      return {
        layers,
        scores: (choosing.options['score'] === 'gate' ? scores.gate : scores.token).map((layer) => [
          ...layer,
        ]),
        ...chosenWith(scores),
        shares: SHARES.map((share) => ({ share, ...chosenWith(scores, { share }) })),
      };
    } finally {
      data.close();
    }
  } finally {
    model.close();
  }
}
