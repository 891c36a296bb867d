/** What methods add to the layers of experts of a model, and published layouts have no place for. */
import { op, type Value } from '#worker/graph/index.ts';
import type { Additions, LearnedGatePlan, LocalExpertPlan } from './addition-plans.ts';
import type { DecoderPlan, MoePlan } from './decoder-plan.ts';
import type { GateRole, LocalRole, ParameterRole, RoleShape } from './parameter-roles.ts';

const roles: ReadonlySet<ParameterRole> = new Set<GateRole | LocalRole>([
  'gateOffset',
  'gateLogTemperature',
  'localDown',
  'localUp',
  'localGate',
  'localGateBias',
]);

/** Whether a parameter belongs to an addition. */
export function isAddition({ role }: { readonly role: ParameterRole }): boolean {
  return roles.has(role);
}

/** What the MoE layers of a plan have besides what its family publishes. */
export function additionsOf(plan: DecoderPlan): Additions {
  const moe = plan.layers.map(({ feedForward }) => feedForward).find(({ kind }) => kind === 'moe');
  const { learnedGate = null, localExpert = null } = moe?.kind === 'moe' ? moe : {};
  return { learnedGate, localExpert };
}

/** A plan whose MoE layers have additions besides, in place of those of the same kind. */
export function withAdditions(
  plan: DecoderPlan,
  { learnedGate, localExpert }: Partial<Additions>,
): DecoderPlan {
  if (!learnedGate && !localExpert) return plan;
  const added = { ...(learnedGate && { learnedGate }), ...(localExpert && { localExpert }) };
  const layers = plan.layers.map((layer) =>
    layer.feedForward.kind === 'moe' ? { ...layer, feedForward: { ...layer.feedForward, ...added } } : layer,
  );
  return { ...plan, layers };
}

/** Parameters of the additions of a layer. */
export function additionParameters(
  { experts, learnedGate, localExpert }: MoePlan,
  hidden: number,
): readonly RoleShape[] {
  const shapes: RoleShape[] = [];
  if (learnedGate) shapes.push(['gateOffset', [experts]], ['gateLogTemperature', [1]]);
  if (localExpert) {
    shapes.push(['localDown', [localExpert.rank, hidden]], ['localUp', [hidden, localExpert.rank]]);
    if (localExpert.mixture === 'residual') shapes.push(...gateShapes(localExpert, hidden));
  }
  return shapes;
}

/** Parameters of the additions of a decoder that belong to no layer. */
export function decoderAdditionParameters(plan: DecoderPlan): readonly RoleShape[] {
  const { localExpert } = additionsOf(plan);
  return localExpert?.mixture === 'output' ? gateShapes(localExpert, plan.hiddenSize) : [];
}

function gateShapes({ gated }: LocalExpertPlan, hidden: number): readonly RoleShape[] {
  if (!gated) return [];
  return [
    ['localGate', [hidden]],
    ['localGateBias', [1]],
  ];
}

const activations: Readonly<Record<LearnedGatePlan['activation'], (logits_NE: Value) => Value>> = {
  identity: (logits_NE) => logits_NE,
  tanh: op.tanh,
  sigmoid: op.sigmoid,
};

/**
 * `(σ(z) + b) / τ` with learned offsets b and τ = e^s: the dense-to-sparse gate with a temperature, and with an activation σ
 * (Nguyen et al. 2024, arXiv 2401.13875).
 */
export function learnedLogits(
  { activation }: LearnedGatePlan,
  logits_NE: Value,
  weight: (role: GateRole, shape: readonly number[]) => Value,
): Value {
  const experts = logits_NE.shape.at(-1);
  const offset_E = weight('gateOffset', [typeof experts === 'number' ? experts : 0]);
  const shifted_NE = op.add(activations[activation](logits_NE), offset_E);
  return op.mul(shifted_NE, op.exp(op.neg(weight('gateLogTemperature', [1]))));
}
