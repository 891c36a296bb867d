/** What all ways to run a head share. */
import type { Kernels } from '#worker/kernels/index.ts';
import type { DecoderPlan } from '#worker/model/index.ts';
import type { ParameterStore } from '../weights/parameter-store.ts';
import type { StagePrograms } from '../stages/stage-programs.ts';
import type { ArenaTensor, Workspace } from '../workspace.ts';

/** Elements of one chunk of logits: the head runs over as many tokens as fit. */
export const LOGIT_CHUNK = 8_000_000;

/** What a head runs on. */
export interface HeadParts {
  readonly plan: DecoderPlan;
  readonly store: ParameterStore;
  readonly programs: StagePrograms;
  readonly workspace: Workspace;
  readonly kernels: Kernels;
}

/** Rows `at` of a hidden state. */
export function gatherHidden(
  { plan, workspace, kernels }: HeadParts,
  h: ArenaTensor,
  at: Int32Array,
): ArenaTensor {
  const out = workspace.tensor(at.length, plan.hiddenSize);
  kernels.gatherRows(out.offset, h.offset, at, plan.hiddenSize, h.shape[0] ?? 0);
  return out;
}

/** Cuts `count` things into equal runs of at most `most`. */
export function* equalRuns(
  count: number,
  most: number,
): Generator<{ readonly from: number; readonly to: number }> {
  const size = Math.ceil(count / Math.ceil(count / most));
  for (let from = 0; from < count; from += size) yield { from, to: Math.min(count, from + size) };
}
