/** Golden cases of kind `expert-selection` for condensers: who is chosen, how many a layer gets, where a bias stops. */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { allocateCondensers, moveBias, selectCondensers } from '#worker/methods/index.ts';
import { absoluteCheck, equalCheck, type CaseDocument, type Check } from './golden-case.ts';

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

/** Runs a condenser selection case. */
export function checkSelectionCase(document: CaseDocument): Check[] {
  if (document.method !== 'expert-condenser') {
    throw new UserError('parity/unsupported', `method ${String(document.method)} is not supported yet`);
  }
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
