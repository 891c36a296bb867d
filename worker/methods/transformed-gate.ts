/** Learned gates: an offset for each expert and a temperature for each layer, over logits or a function of them. */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import {
  additionsOf,
  moeLayerIndices,
  parameterId,
  plainRouting,
  routerShapes,
  shapeOf,
  type AddedParameter,
  type GateRole,
  type Method,
  type MethodContext,
  type ParameterRole,
} from '#worker/model/index.ts';
import { routingLossOptions, routingLosses } from './routing-loss-options.ts';
import { statelessSession } from './stateless-session.ts';

const Options = z.strictObject({
  activation: z.enum(['identity', 'tanh', 'sigmoid']).default('identity').meta({
    title: 'Function of the logits',
    description:
      'identity: temperature gate, the checkpoint’s own routing until it has learnt; tanh or sigmoid: activation gate, which changes the routing of a trained model at once.',
  }),
  temperature: z.number().positive().default(1).meta({
    title: 'Temperature at the start',
    description:
      'Logits are divided by it. tanh and sigmoid press logits together; a temperature well below 1 pulls them apart again. A model that has a learned gate keeps its own.',
  }),
  trains: z.enum(['all', 'gate']).default('all').meta({
    title: 'What trains',
    description: 'all: every weight and the gate; gate: offsets, temperatures and routers only.',
  }),
  ...routingLossOptions,
});

/** What decides who is chosen. */
const gateRoles: ReadonlySet<ParameterRole> = new Set<ParameterRole>([
  'router',
  'routerBias',
  'gateOffset',
  'gateLogTemperature',
]);

/** Offset and logarithm of the temperature of each MoE layer, as they start. */
function gateParameters({ plan }: MethodContext, temperature: number): AddedParameter[] {
  const shapes = routerShapes(plan);
  return moeLayerIndices(plan).flatMap((layer, index) => {
    const parameter = (role: GateRole, shape: readonly number[], value: number): AddedParameter => ({
      id: parameterId(role, layer, null),
      role,
      layer,
      expert: null,
      shape,
      initial: () => new Float32Array(shape[0] ?? 0).fill(value),
    });
    return [
      parameter('gateOffset', [shapeOf(shapes, index).experts], 0),
      parameter('gateLogTemperature', [1], Math.log(temperature)),
    ];
  });
}

/** Gate weights of `learnedLogits`; a model that has such a gate goes on with it. */
export const transformedGate: Method<typeof Options> = {
  name: 'transformed-gate',
  title: 'Learned temperature or activation gate',
  trains: 'Every weight or only the routers, and for each layer a temperature and an offset of each expert.',
  cost: '1 ×.',
  source: 'Nguyen, Akbarian, Ho 2024 (arXiv 2401.13875).',
  options: Options,
  needs: 'experts',
  start(options, context) {
    const { activation, temperature, trains } = options;
    const { learnedGate: own } = additionsOf(context.plan);
    if (own !== null && own.activation !== activation) {
      throw new UserError(
        'method/other-gate',
        `method.options.activation is ${activation}; the model has a learned gate over ${own.activation}`,
        `Go on with "activation": "${own.activation}".`,
      );
    }
    return statelessSession({
      trainable: ({ role }) => trains === 'all' || gateRoles.has(role),
      added: own === null ? gateParameters(context, temperature) : [],
      additions: { learnedGate: { activation } },
      routing: plainRouting(routerShapes(context.plan)),
      losses: routingLosses(options),
    });
  },
};
