/** Names of parameters as golden cases (and published checkpoints) have them. */
import { parametersOf, type DecoderPlan, type Family } from '#worker/model/index.ts';

/** Published tensor name → parameter id. */
export function idsByPublishedName(family: Family, plan: DecoderPlan): Map<string, string> {
  return new Map(
    parametersOf(plan).map((parameter): [string, string] => [
      family.stored(parameter, plan)[0]?.name ?? '',
      parameter.id,
    ]),
  );
}
