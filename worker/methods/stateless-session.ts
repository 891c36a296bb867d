/** A session for methods that leave routing alone and keep no buffers. */
import { plainRouting, routerShapes, type DecoderPlan, type MethodSession } from '#worker/model/index.ts';

/** What such a method still decides: what trains, and losses on routing. */
export function statelessSession(
  parts: Pick<
    MethodSession,
    | 'trainable'
    | 'added'
    | 'adapters'
    | 'additions'
    | 'wrongTokenGain'
    | 'routing'
    | 'inferenceRouting'
    | 'losses'
    | 'visitedExperts'
  >,
): MethodSession {
  return {
    ...parts,
    readsPadding: false,
    buffer: (name) => {
      throw new RangeError(`no routing buffer ${name}`);
    },
    afterMicroBatch: () => undefined,
    afterStep: () => [],
    routerState: () => ({}),
    save: () => null,
    restore: () => undefined,
  };
}

/** A session of the checkpoint as it is, in which nothing trains, with routing as the losses of another one look at it. */
export function plainSession(
  plan: DecoderPlan,
  { losses, routing: { lossScoring } }: Pick<MethodSession, 'losses' | 'routing'>,
): MethodSession {
  const plain = plainRouting(routerShapes(plan));
  return statelessSession({
    trainable: () => false,
    routing: lossScoring === undefined ? plain : { ...plain, lossScoring },
    losses,
  });
}
