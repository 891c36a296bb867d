/**
 * A local expert beside a frozen model: one small MLP in each MoE layer learns what the model gets wrong on the given data,
 * and a gate decides for each token how much of it is used. After the low-cost customisation of Zhang et al. 2018
 * (arXiv 1811.00056), whose generic network, local network and gate are here the checkpoint, this MLP and its sigmoid.
 */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import {
  additionsOf,
  elementCount,
  parametersOf,
  plainRouting,
  routerShapes,
  withAdditions,
  type AddedParameter,
  type LocalExpertPlan,
  type Method,
  type MethodContext,
} from '#worker/model/index.ts';
import { uniform } from '#worker/random/index.ts';
import { statelessSession } from './stateless-session.ts';

const Options = z.strictObject({
  rank: z.int().positive().default(16).meta({
    title: 'Width',
    description: 'Hidden units of a local expert. What it can learn, and its size, grow with it.',
  }),
  mixture: z.enum(['residual', 'output']).default('residual').meta({
    title: 'What the gate mixes',
    description:
      'residual: each layer adds its share of the local expert, in one forward pass; output: what the model predicts with its local experts is mixed with what it predicts without, in two passes.',
    advanced: true,
  }),
  gate: z.enum(['token', 'none']).default('token').meta({
    title: 'Gate',
    description:
      'token: a learned share between 0 and 1 for each token (and layer); none: local experts always count in full, as before a gate is fitted separately with fit-gate.',
  }),
  threshold: z.number().min(0).max(1).nullable().default(null).meta({
    title: 'Threshold of the gate in use',
    description:
      'null: the model is used with the gate as it is. A number: the local expert counts in full where the gate is above it, and not at all elsewhere, where the layer then computes what the base does, bit for bit.',
  }),
  wrongTokenGain: z.number().min(0).default(1).meta({
    title: 'Gain of wrong tokens',
    description:
      'Tokens that the model without local experts would not have predicted count 1 + gain times in the loss. 0: all count alike, and a forward pass is saved.',
  }),
  scale: z.number().positive().default(1).meta({
    title: 'Scale',
    description: 'Multiplies what a local expert adds.',
    advanced: true,
  }),
  trains: z.enum(['local', 'all']).default('local').meta({
    title: 'What trains',
    description: 'local: local experts and their gates, the base is frozen; all: the base too.',
    advanced: true,
  }),
});
/** The parameters that the model lacks; new local experts add nothing before the first step, and their gates are half open. */
function localParameters(wanted: LocalExpertPlan, { plan, seed }: MethodContext): AddedParameter[] {
  const known = new Set(parametersOf(plan).map(({ id }) => id));
  return parametersOf(withAdditions(plan, { localExpert: wanted }))
    .filter(({ id }) => !known.has(id))
    .map((parameter) => {
      const { id, role, shape } = parameter;
      const count = elementCount(shape);
      const drawn = () =>
        Float32Array.from(uniform(seed, id, count), (u) => (2 * u - 1) / Math.sqrt(plan.hiddenSize));
      return { ...parameter, initial: role === 'localDown' ? drawn : () => new Float32Array(count) };
    });
}

/** Experts may get a gate. @throws UserError `method/other-local-expert` where those of the model are not `wanted` otherwise. */
function checkSame(own: LocalExpertPlan, wanted: LocalExpertPlan): void {
  const fields = ['rank', 'mixture', 'scale', 'gated'] as const;
  const other = fields.find((field) => own[field] !== wanted[field] && !(field === 'gated' && wanted.gated));
  if (other === undefined) return;
  const gate = own.gated ? 'token' : 'none';
  throw new UserError(
    'method/other-local-expert',
    `method.options: the model has local experts whose ${other} is ${own[other]}, not ${wanted[other]}`,
    `Go on with "rank": ${own.rank}, "mixture": "${own.mixture}", "scale": ${own.scale}, "gate": "${gate}".`,
  );
}

/** Local experts beside the base; a model that has some goes on with them. */
export const localExpert: Method<typeof Options> = {
  name: 'local-expert',
  title: 'Local expert',
  trains: 'A small MLP in each MoE layer, and a gate that decides for each token how much of it is used.',
  cost: 'About ⅔ × full fine-tuning; ⅓ × more where wrong tokens count more.',
  source:
    'After Zhang et al. 2018 (arXiv 1811.00056), in the residual form or that of mixed outputs; how the parts are trained is this project’s reading.',
  options: Options,
  needs: 'experts',
  start(options, context) {
    const { rank, scale, mixture, threshold } = options;
    const wanted = { rank, mixture, scale, gated: options.gate === 'token', threshold };
    const { localExpert: own } = additionsOf(context.plan);
    if (own !== null) checkSame(own, wanted);
    return statelessSession({
      trainable: ({ role }) => options.trains === 'all' || role.startsWith('local'),
      added: localParameters(wanted, context),
      additions: { localExpert: wanted },
      wrongTokenGain: options.wrongTokenGain,
      routing: plainRouting(routerShapes(context.plan)),
      losses: [],
    });
  },
};
