/**
 * Golden cases of kind `expert-selection`: for condensers who is chosen, how many a layer gets, where a bias stops; for ESFT
 * the scores of a sample and who is chosen by them.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { allocateCondensers, moveBias, selectCondensers, selectExperts } from '#worker/methods/index.ts';
import { moeLayerIndices, type ExpertScores } from '#worker/model/index.ts';
import { loadModel, measureExperts } from '#worker/train/index.ts';
import { goldenBatch } from './golden-batch.ts';
import { GoldenTensors, absoluteCheck, equalCheck, type CaseDocument, type Check } from './golden-case.ts';

const SelectionCase = z.object({
  expected: z.object({
    selections: z
      .array(
        z.object({
          what: z.string(),
          bias: z.array(z.number()),
          soft_usage: z.array(z.number()),
          r: z.int(),
          condensers: z.array(z.int()),
        }),
      )
      .optional(),
    all_zero_bias: z.literal('refused').optional(),
    bfloat16_bias: z
      .array(
        z.object({
          gamma: z.number(),
          at: z.array(z.object({ updates: z.int(), bias: z.number() })),
          stops_at: z.number(),
          last_moving_update: z.int(),
        }),
      )
      .optional(),
    allocations: z
      .array(
        z.object({
          scores: z.array(z.number()),
          total: z.int(),
          max: z.int(),
          min: z.int(),
          allocation: z.array(z.int()),
        }),
      )
      .optional(),
  }),
});

function refusesZeroBias(): boolean {
  try {
    selectCondensers([0, 0, 0], [1, 2, 3], 1);
    return false;
  } catch (error) {
    return error instanceof UserError;
  }
}

/** Moves a bfloat16 bias up until it no longer moves. */
function climb(gamma: number): number[] {
  const rule = { usage: 'soft', padsInUsage: false, dtype: 'bfloat16', clip: null } as const;
  const values = [0];
  const bias_E = new Float32Array(2);
  for (;;) {
    moveBias(bias_E, [1, 0], gamma, rule);
    const value = bias_E[0] ?? 0;
    if (value === values.at(-1)) return values;
    values.push(value);
  }
}

function checkCondensers(document: CaseDocument): Check[] {
  const { expected } = SelectionCase.parse(document);
  const checks: Check[] = [];
  for (const { what, bias, soft_usage, r, condensers } of expected.selections ?? []) {
    checks.push(equalCheck(what, selectCondensers(bias, soft_usage, r), condensers));
  }
  if (expected.all_zero_bias !== undefined)
    checks.push(equalCheck('all-zero bias is refused', [Number(refusesZeroBias())], [1]));
  for (const { gamma, at, stops_at, last_moving_update } of expected.bfloat16_bias ?? []) {
    const values = climb(gamma);
    for (const { updates, bias } of at) {
      checks.push(
        absoluteCheck(
          `bfloat16 bias, speed ${gamma}, ${updates} updates`,
          [values[Math.min(updates, values.length - 1)] ?? NaN],
          [bias],
          1e-8,
        ),
      );
    }
    checks.push(
      equalCheck(
        `bfloat16 bias, speed ${gamma}, end`,
        [values.at(-1) ?? NaN, values.length - 1],
        [stops_at, last_moving_update],
      ),
    );
  }
  expected.allocations?.forEach(({ scores, total, max, min, allocation }, index) => {
    checks.push(equalCheck(`allocation ${index}`, allocateCondensers(scores, total, max, min), allocation));
  });
  return checks;
}

const ScoresCase = z.object({
  tolerances: z.object({ score_abs: z.number() }),
  expected: z.object({
    /** `<score>@<share>` → layer → experts in order. */
    selected: z.record(z.string(), z.record(z.string(), z.array(z.int()))),
  }),
});

async function checkExpertScores(dir: string, document: CaseDocument): Promise<Check[]> {
  const { tolerances, expected } = ScoresCase.parse(document);
  const tensors = new GoldenTensors(join(dir, 'expected.safetensors'));
  const batch = goldenBatch(new GoldenTensors(join(dir, 'batch.safetensors')));
  const model = await loadModel({
    modelDir: join(dir, 'model'),
    method: { name: 'full', options: {} },
    trains: false,
  });
  try {
    const scores = await measureExperts(model, [batch], batch.inputIds.length);
    const moe = moeLayerIndices(model.plan);
    const scoreChecks = (['token', 'gate'] as const).flatMap((name) =>
      moe.map((layer, index) =>
        absoluteCheck(
          `${name}_scores.${layer}`,
          scores[name][index] ?? [],
          tensors.floats(`${name}_scores.${layer}`),
          tolerances.score_abs,
        ),
      ),
    );
    const selectionChecks = Object.entries(expected.selected).flatMap(([rule, layers]) => {
      const [name, share] = z
        .tuple([z.enum(['token', 'gate']) satisfies z.ZodType<keyof ExpertScores>, z.coerce.number()])
        .parse(rule.split('@'));
      return moe.map((layer, index) =>
        equalCheck(
          `${rule} layer ${layer}`,
          selectExperts(scores[name][index] ?? [], share),
          layers[layer] ?? [],
        ),
      );
    });
    return [...scoreChecks, ...selectionChecks];
  } finally {
    model.close();
  }
}

/** Runs an `expert-selection` case. */
export async function checkSelectionCase(dir: string, document: CaseDocument): Promise<Check[]> {
  switch (document.method) {
    case 'expert-condenser':
      return checkCondensers(document);
    case 'esft':
      return checkExpertScores(dir, document);
    default:
      throw new UserError('parity/unsupported', `method ${String(document.method)} is not supported yet`);
  }
}
