/** Which weights each stage reads. */
import { invariant } from '#core/contract/errors.ts';
import {
  withAdapterRoles,
  type BaseRouterRole,
  type GateRole,
  type LocalRole,
  type ParameterRole,
  type TokenRouterRole,
  type WeightRole,
} from '#worker/model/index.ts';

const attentionRoles = {
  heads: [
    'inputNorm',
    'inputNormBias',
    'query',
    'key',
    'value',
    'queryBias',
    'keyBias',
    'valueBias',
    'queryNorm',
    'keyNorm',
    'outputGate',
    'queryDown',
    'queryDownBias',
    'queryDownNorm',
    'keyValueDown',
    'keyValueDownBias',
    'keyValueDownNorm',
    'keyValueUp',
  ],
  mix: ['sinks', 'convolution'],
  attentionOutput: ['output', 'outputBias', 'attentionOutputNorm', 'attentionOutputNormBias'],
} as const satisfies Readonly<Record<string, readonly WeightRole[]>>;

const roles = {
  ...attentionRoles,
  attention: Object.values(attentionRoles).flat(),
  router: ['postAttentionNorm', 'postAttentionNormBias', 'router', 'routerBias', 'selectionBias'],
  expert: ['expertGate', 'expertUp', 'expertDown', 'expertGateBias', 'expertUpBias', 'expertDownBias'],
  local: [],
  tokenRouter: [],
  shared: ['sharedGate', 'sharedUp', 'sharedDown', 'sharedMix'],
  dense: [
    'postAttentionNorm',
    'postAttentionNormBias',
    'denseGate',
    'denseUp',
    'denseDown',
    'denseGateBias',
    'denseUpBias',
    'denseDownBias',
    'feedForwardOutputNorm',
    'feedForwardOutputNormBias',
  ],
  outputNorm: ['feedForwardOutputNorm', 'feedForwardOutputNormBias'],
  head: ['finalNorm', 'finalNormBias', 'head', 'headBias'],
} as const satisfies Readonly<Record<string, readonly WeightRole[]>>;

/** A stage that reads weights. */
export type StageName = keyof typeof roles;

/** The weights each stage may read, by role; a plan has some of them. */
export const stageRoles: Readonly<Record<StageName, readonly WeightRole[]>> = roles;

/** Roles that one stage reads together, `role` among them. */
export function rolesReadWith(role: WeightRole): readonly WeightRole[] {
  const longest = Object.values(stageRoles)
    .filter((own) => own.includes(role))
    .sort((a, b) => b.length - a.length)[0];
  invariant(longest !== undefined, `no stage reads ${role}`);
  return longest;
}

/** Additions that a stage may read. */
const addedRoles: Partial<Record<StageName, readonly ParameterRole[]>> = {
  router: ['gateOffset', 'gateLogTemperature', 'baseRouter', 'baseRouterBias'] satisfies readonly (
    GateRole | BaseRouterRole
  )[],
  local: ['localDown', 'localUp', 'localGate', 'localGateBias'] satisfies readonly LocalRole[],
  tokenRouter: ['tokenCentroids'] satisfies readonly TokenRouterRole[],
};

/** Everything a stage may read of a layer: weights, adapters beside them, and additions. */
export function rolesOf(stage: StageName): readonly ParameterRole[] {
  return [...stageRoles[stage].flatMap(withAdapterRoles), ...(addedRoles[stage] ?? [])];
}
