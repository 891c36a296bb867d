/** Fields that many families' `config.json` share, in the layouts found on published and re-saved checkpoints. */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { explainIssues } from '#core/contract/explain-issues.ts';

/** One id, a list of ids, or none. */
export const tokenIds = z
  .union([z.int(), z.array(z.int())])
  .nullish()
  .transform((ids): number[] =>
    ids === null || ids === undefined ? [] : typeof ids === 'number' ? [ids] : ids,
  );

/** A rotary scaling record that asks for no scaling (`rope_scaling`, or `rope_parameters` of re-saved configs). */
export const unscaledRope = z
  .looseObject({
    rope_theta: z.number().positive().optional(),
    rope_type: z
      .literal('default', { error: 'only rope_type "default" is supported by this family' })
      .optional(),
    type: z.literal('default', { error: 'only type "default" is supported by this family' }).optional(),
  })
  .nullish();

/** The rotary base, from either layout; 10,000 where neither states it. */
export function ropeTheta(config: {
  readonly rope_theta?: number | null | undefined;
  readonly rope_parameters?: { readonly rope_theta?: number | undefined } | null | undefined;
}): number {
  return config.rope_theta ?? config.rope_parameters?.rope_theta ?? 10_000;
}

/**
 * Validates `config.json`; fields a family does not know are left alone, since libraries add many.
 * @throws UserError `config/invalid` naming each wrong field.
 */
export function readConfig<S extends z.ZodType>(family: string, schema: S, config: unknown): z.output<S> {
  const parsed = schema.safeParse(config);
  if (!parsed.success) {
    throw new UserError(
      'config/invalid',
      `config.json (${family}): ${explainIssues(parsed.error, schema)}`,
      'Check that config.json belongs to this checkpoint and is complete.',
    );
  }
  return parsed.data;
}
