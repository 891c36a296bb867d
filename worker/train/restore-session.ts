/** The method of a run that has trained. */
import type { RunSpec } from '#core/contract/run-spec.ts';
import { startMethod } from '#worker/methods/index.ts';
import type { AdapterPlan, DecoderPlan, Family, MethodSession } from '#worker/model/index.ts';
import { methodContext } from './method-context.ts';

/**
 * The session of a run as its checkpoint has it.
 * @param stored the decoder that the run started from.
 * @param trained what the checkpoint says of adapters and of the method.
 */
export function restoreSession(
  { method }: Pick<RunSpec, 'method'>,
  { family, plan: stored }: { readonly family: Family; readonly plan: DecoderPlan },
  trained: { readonly adapters: AdapterPlan | null; readonly method: unknown },
): MethodSession {
  const submatrices = trained.adapters?.kind === 'submatrices' ? trained.adapters : null;
  const context = methodContext(family, stored, { expertScores: null, submatrices, seed: 0 });
  const session = startMethod(method.name, method.options, context);
  session.restore(trained.method);
  return session;
}
