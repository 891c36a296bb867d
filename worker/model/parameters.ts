/** The parameters a plan implies, under names that are the same for every family. */
import { additionParameters, decoderAdditionParameters } from './additions.ts';
import { attentionParameters } from './attention-parameters.ts';
import {
  expertWidth,
  type DecoderPlan,
  type FeedForwardPlan,
  type LayerPlan,
  type MoePlan,
  type NormPlan,
} from './decoder-plan.ts';
import type { ParameterRole, RoleShape } from './parameter-roles.ts';

/** One weight tensor; matrices are `[out, in]`. */
export interface Parameter {
  /** Unique, e.g. `layers.3.experts.7.expertUp`. */
  readonly id: string;
  readonly role: ParameterRole;
  readonly layer: number | null;
  readonly expert: number | null;
  readonly shape: readonly number[];
}

/** False for what a checkpoint stores beside its weights and no gradient reaches: it never trains. */
export function hasGradient(parameter: Parameter): boolean {
  return parameter.role !== 'selectionBias';
}

/** A parameter that a method adds to a model: no checkpoint holds it. */
export interface AddedParameter extends Parameter {
  /** It never trains; absent: it always does. */
  readonly frozen?: true;
  /** Values before the first step. @param weight gives a weight of the checkpoint in float32. */
  initial(weight: (id: string) => Float32Array): Float32Array;
}

/** Whether a parameter comes from the method and not from the checkpoint. */
export function isAdded(parameter: Parameter): parameter is AddedParameter {
  return 'initial' in parameter;
}

/** Number of elements of a shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The id of a parameter, from its place. */
export function parameterId(role: ParameterRole, layer: number | null, expert: number | null): string {
  const parts = layer === null ? [] : [`layers.${layer}`];
  if (expert !== null) parts.push(`experts.${expert}`);
  return [...parts, role].join('.');
}

/** Parameters of the feed-forward half of a layer that every token reads. */
function commonFeedForward(plan: FeedForwardPlan, hidden: number): RoleShape[] {
  switch (plan.kind) {
    case 'dense':
      return [
        ['denseGate', [plan.intermediate, hidden]],
        ['denseUp', [plan.intermediate, hidden]],
        ['denseDown', [hidden, plan.intermediate]],
        ...(plan.biases ? denseBiases(plan.intermediate, hidden) : []),
      ];
    case 'moe': {
      const roles: RoleShape[] = [['router', [plan.experts, hidden]]];
      if (plan.router.bias) roles.push(['routerBias', [plan.experts]]);
      if (plan.router.selectionBias) roles.push(['selectionBias', [plan.experts]]);
      if (plan.shared !== undefined) {
        const { intermediate, gated } = plan.shared;
        roles.push(['sharedGate', [intermediate, hidden]], ['sharedUp', [intermediate, hidden]]);
        roles.push(['sharedDown', [hidden, intermediate]]);
        if (gated) roles.push(['sharedMix', [1, hidden]]);
      }
      return roles;
    }
  }
}

function denseBiases(intermediate: number, hidden: number): RoleShape[] {
  return [
    ['denseGateBias', [intermediate]],
    ['denseUpBias', [intermediate]],
    ['denseDownBias', [hidden]],
  ];
}

/** Parameters of an expert of a layer; one of width 0 has none. */
function expertParameters(plan: MoePlan, hidden: number, expert: number): RoleShape[] {
  const intermediate = expertWidth(plan, expert);
  if (intermediate === 0) return [];
  const roles: RoleShape[] = [
    ['expertGate', [intermediate, hidden]],
    ['expertUp', [intermediate, hidden]],
    ['expertDown', [hidden, intermediate]],
  ];
  if (plan.expertBiases) {
    roles.push(['expertGateBias', [intermediate]], ['expertUpBias', [intermediate]]);
    roles.push(['expertDownBias', [hidden]]);
  }
  return roles;
}

/** Parameters of a norm. */
function normParameters(
  role: 'finalNorm' | Extract<keyof LayerPlan, `${string}Norm`>,
  plan: NormPlan | null | undefined,
  hidden: number,
): RoleShape[] {
  if (!plan) return [];
  return plan.kind === 'layer' && plan.bias
    ? [
        [role, [hidden]],
        [`${role}Bias`, [hidden]],
      ]
    : [[role, [hidden]]];
}

/** All parameters of a plan in forward order. A tied head has none of its own. */
export function parametersOf(plan: DecoderPlan): Parameter[] {
  const parameters: Parameter[] = [];
  const add = ([role, shape]: RoleShape, layer: number | null = null, expert: number | null = null) =>
    parameters.push({ id: parameterId(role, layer, expert), role, layer, expert, shape });
  const hidden = plan.hiddenSize;

  add(['embedding', [plan.vocabularySize, hidden]]);
  plan.layers.forEach((layer, l) => {
    const addNorm = (role: Extract<keyof LayerPlan, `${string}Norm`>) => {
      for (const norm of normParameters(role, layer[role], hidden)) add(norm, l);
    };
    addNorm('inputNorm');
    for (const role of attentionParameters(layer.attention, hidden)) add(role, l);
    addNorm('attentionOutputNorm');
    if (!layer.parallel) addNorm('postAttentionNorm');
    for (const role of commonFeedForward(layer.feedForward, hidden)) add(role, l);
    if (layer.feedForward.kind === 'moe') {
      const { feedForward } = layer;
      for (let e = 0; e < feedForward.experts; e++)
        for (const role of expertParameters(feedForward, hidden, e)) add(role, l, e);
      for (const role of additionParameters(feedForward, hidden)) add(role, l);
    }
    addNorm('feedForwardOutputNorm');
  });
  for (const norm of normParameters('finalNorm', plan.finalNorm, hidden)) add(norm);
  if (!plan.tiedHead) add(['head', [plan.vocabularySize, hidden]]);
  if (plan.headBias) add(['headBias', [plan.vocabularySize]]);
  for (const role of decoderAdditionParameters(plan)) add(role);
  return parameters;
}

/** Copies of the routers as the checkpoint has them, which stay while the routers train. */
export function baseRouters(plan: DecoderPlan): AddedParameter[] {
  const copies = { router: 'baseRouter', routerBias: 'baseRouterBias' } as const;
  return parametersOf(plan).flatMap(({ id, role, layer, expert, shape }) => {
    if (role !== 'router' && role !== 'routerBias') return [];
    const copy = { role: copies[role], layer, expert, shape, frozen: true } as const;
    return [{ ...copy, id: parameterId(copy.role, layer, expert), initial: (weight) => weight(id) }];
  });
}

/** Parameters one token passes through: all but the experts it is not sent to. */
export function activeParameterCount(plan: DecoderPlan): number {
  return parametersOf(plan).reduce((sum, parameter) => {
    const feedForward = parameter.layer === null ? undefined : plan.layers[parameter.layer]?.feedForward;
    const share =
      parameter.expert === null || feedForward?.kind !== 'moe'
        ? 1
        : feedForward.expertsPerToken / feedForward.experts;
    return sum + elementCount(parameter.shape) * share;
  }, 0);
}
