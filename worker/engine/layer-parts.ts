/** What the runners of a layer work with. */
import type { Kernels } from '#worker/kernels/index.ts';
import type { DecoderPlan, MethodSession } from '#worker/model/index.ts';
import type { Runtime } from '#worker/runtime/index.ts';
import type { AdapterDropout } from './adapter-dropout.ts';
import type { ParameterStore } from './weights/parameter-store.ts';
import type { StagePrograms } from './stages/stage-programs.ts';
import type { Workspace } from './workspace.ts';

/** Everything a layer runs on. */
export interface LayerParts {
  readonly plan: DecoderPlan;
  readonly store: ParameterStore;
  readonly session: MethodSession;
  readonly programs: StagePrograms;
  readonly workspace: Workspace;
  readonly kernels: Kernels;
  readonly runtime: Runtime;
  /** Null: adapters read everything. */
  readonly dropout: AdapterDropout | null;
}
