/** Learned gates: an offset for each expert and a temperature for each layer, over logits or a function of them. */
import { z } from 'zod';
import { op, type Value } from '#worker/graph/index.ts';
import {
  moeLayerIndices,
  parameterId,
  plainRouting,
  routerShapes,
  shapeOf,
  type AddedParameter,
  type GateRole,
  type Method,
  type MethodContext,
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
      'Logits are divided by it. tanh and sigmoid press logits together; a temperature well below 1 pulls them apart again.',
  }),
  trains: z.enum(['all', 'gate']).default('all').meta({
    title: 'What trains',
    description: 'all: every weight and the gate; gate: offsets, temperatures and routers only.',
  }),
  ...routingLossOptions,
});
type Options = z.output<typeof Options>;

const activations: Readonly<Record<Options['activation'], (logits_NE: Value) => Value>> = {
  identity: (logits_NE) => logits_NE,
  tanh: op.tanh,
  sigmoid: op.sigmoid,
};

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

/**
 * `softmax((σ(z) + b) / τ)` with learned offsets b and τ = e^s: the dense-to-sparse gate with a temperature, and with an
 * activation σ (Nguyen et al. 2024, arXiv 2401.13875).
 */
export const transformedGate: Method<typeof Options> = {
  name: 'transformed-gate',
  title: 'Learned temperature or activation gate',
  trains: 'Every weight or only the routers, and for each layer a temperature and an offset of each expert.',
  cost: '1 ×.',
  source: 'Nguyen, Akbarian, Ho 2024 (arXiv 2401.13875).',
  options: Options,
  needs: 'experts',
  start(options, context) {
    const shapes = routerShapes(context.plan);
    return statelessSession({
      trainable: ({ role }) => options.trains === 'all' || role === 'router' || role === 'routerBias',
      added: gateParameters(context, options.temperature),
      routing: {
        ...plainRouting(shapes),
        transform(logits_NE, weight) {
          const experts = logits_NE.shape.at(-1);
          const offset_E = weight('gateOffset', [typeof experts === 'number' ? experts : 0]);
          const shifted_NE = op.add(activations[options.activation](logits_NE), offset_E);
          return op.mul(shifted_NE, op.exp(op.neg(weight('gateLogTemperature', [1]))));
        },
      },
      losses: routingLosses(options),
    });
  },
};
