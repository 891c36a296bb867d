/** The warm-up of golden cases of sparse matrix tuning, and which sub-matrices it chooses. */
import { join } from 'node:path';
import { z } from 'zod';
import { UserError, invariant } from '#core/contract/errors.ts';
import type { AdamWSettings } from '#worker/engine/index.ts';
import { warmUpOf } from '#worker/methods/index.ts';
import { elementCount, parametersOf, type SubmatrixPlan } from '#worker/model/index.ts';
import { decoderPlanOf, loadModel, measureSubmatrices } from '#worker/train/index.ts';
import { goldenBatch } from './golden-batch.ts';
import { GoldenTensors, equalCheck, type CaseDocument, type Check } from './golden-case.ts';
import { parametersByPublishedName } from './golden-names.ts';

const Case = z.object({
  options: z.object({
    block: z.int(),
    warmUpSteps: z.int(),
    score: z.object({ attention: z.literal('abs(mean)'), mlp: z.literal('mean(abs)') }),
    blocks: z.object({ attention: z.int(), mlp: z.int() }),
    restoreAfterWarmUp: z.literal(true),
    optimizerAfterWarmUp: z.literal('new'),
  }),
  warm_up: z.object({ lr: z.array(z.number()) }),
  selected_blocks: z.record(z.string(), z.array(z.tuple([z.int(), z.int()]))),
  gradient_accumulation: z.int(),
});

/** Options of the method `smt` for a case, whose counts become shares of the model's sub-matrices. */
export async function smtOptions(dir: string, document: CaseDocument): Promise<Record<string, unknown>> {
  const parsed = Case.safeParse(document);
  if (!parsed.success) throw new UserError('parity/unsupported', 'this variant of SMT is not supported yet');
  const { block, warmUpSteps, blocks } = parsed.data.options;
  const matrices = parametersOf(await decoderPlanOf(join(dir, 'model'))).filter(
    ({ shape }) => shape.length === 2,
  );
  const all = matrices.reduce((sum, { shape }) => sum + elementCount(shape), 0) / block ** 2;
  return {
    blockSize: block,
    warmUpSteps,
    attentionShare: blocks.attention / all,
    mlpShare: blocks.mlp / all,
  };
}

/**
 * Does the warm-up of a case, and compares which sub-matrices it chooses.
 *
 * The scores themselves (`block_score`) are not compared. In the reference the hooks that add gradients up return the sum, which
 * then takes the gradient's place, so that its warm-up moves the weights by sums of gradients; doing the same gives its losses
 * and, to 2·10⁻⁴, its scores.
 */
export async function checkWarmUp(
  dir: string,
  document: CaseDocument,
  options: Record<string, unknown>,
  optimizer: AdamWSettings,
): Promise<{ readonly checks: Check[]; readonly submatrices: SubmatrixPlan }> {
  const { warm_up, selected_blocks, gradient_accumulation: microBatches } = Case.parse(document);
  const inputs = new GoldenTensors(join(dir, 'batch.safetensors'));
  const model = await loadModel({ modelDir: join(dir, 'model'), method: { name: 'full', options: {} } });
  try {
    const warmUp = warmUpOf('smt', options, model.plan);
    invariant(warmUp !== null, 'SMT has a warm-up');
    let taken = 0;
    const scores = await measureSubmatrices(model, warmUp, {
      optimizer,
      learningRate: (step) => warm_up.lr[step] ?? 0,
      microBatches,
      next: () => {
        const prefix = `step${Math.floor(taken / microBatches)}.micro${taken % microBatches}.`;
        taken++;
        return goldenBatch(inputs, prefix);
      },
      goOn: () => Promise.resolve(true),
    });
    invariant(scores !== null, 'nothing stops the warm-up');
    const submatrices = warmUp.choose(scores);
    const published = parametersByPublishedName(model.family, model.plan);
    const idOf = (name: string) => published.get(name)?.[0]?.id ?? '';
    const choiceChecks = Object.entries(selected_blocks).map(([name, blocks]) =>
      equalCheck(`selected ${name}`, (submatrices.places.get(idOf(name)) ?? []).flat(), blocks.flat()),
    );
    const weights = equalCheck('selected weights', [submatrices.places.size], [choiceChecks.length]);
    return { checks: [...choiceChecks, weights], submatrices };
  } finally {
    model.close();
  }
}
