/** Names of what parameters do, the same for every family. */

/** A norm of the hidden state. */
type NormRole =
  'finalNorm' | 'inputNorm' | 'attentionOutputNorm' | 'postAttentionNorm' | 'feedForwardOutputNorm';

/** What a weight of a checkpoint does. Roles of a layer repeat in each layer, roles of an expert in each expert. */
export type WeightRole =
  | NormRole
  | `${NormRole}Bias`
  | 'embedding'
  | 'head'
  | 'headBias'
  | 'query'
  | 'key'
  | 'value'
  | 'output'
  | 'queryBias'
  | 'keyBias'
  | 'valueBias'
  | 'outputBias'
  | 'queryNorm'
  | 'keyNorm'
  | 'sinks'
  | 'convolution'
  | 'outputGate'
  | 'queryDown'
  | 'queryDownBias'
  | 'queryDownNorm'
  | 'keyValueDown'
  | 'keyValueDownBias'
  | 'keyValueDownNorm'
  | 'keyValueUp'
  | 'router'
  | 'routerBias'
  | 'selectionBias'
  | 'expertGate'
  | 'expertUp'
  | 'expertDown'
  | 'expertGateBias'
  | 'expertUpBias'
  | 'expertDownBias'
  | 'sharedGate'
  | 'sharedUp'
  | 'sharedDown'
  | 'sharedMix'
  | 'denseGate'
  | 'denseUp'
  | 'denseDown'
  | 'denseGateBias'
  | 'denseUpBias'
  | 'denseDownBias';

/** A part of a low-rank adapter. */
export type LowRankPart = 'loraA' | 'loraB' | 'magnitude';

/** What a method learns about the gate of a layer, beside its router. */
export type GateRole = 'gateOffset' | 'gateLogTemperature';

/** The router of a layer and its bias as the checkpoint has them, beside those that train. */
export type BaseRouterRole = 'baseRouter' | 'baseRouterBias';

/** A part of the token router of a layer. */
export type TokenRouterRole = 'tokenEmbedding' | 'tokenCentroids';

/** A part of the local expert of a layer. */
export type LocalRole = 'localDown' | 'localUp' | 'localGate' | 'localGateBias';

/**
 * What a parameter does: a weight, a part of the adapter beside one, the sub-matrices that replace parts of one, a part of the
 * gate, of the local expert or of the token router, or the router as it was.
 */
export type ParameterRole =
  | WeightRole
  | `${WeightRole}.${LowRankPart | 'submatrices'}`
  | GateRole
  | LocalRole
  | BaseRouterRole
  | TokenRouterRole;

/** A role with its shape, before it has a place. */
export type RoleShape = readonly [role: ParameterRole, shape: readonly number[]];
