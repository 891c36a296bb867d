/** A session for methods that leave routing alone and keep no buffers. */
import {
  plainRouting,
  routerShapes,
  routingOf,
  type DecoderPlan,
  type MethodSession,
} from '#worker/model/index.ts';

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

/** The part of a session that counts where its model is used, with everything it trained merged into the weights. */
export function usedSession(session: MethodSession): MethodSession {
  return {
    ...statelessSession({ trainable: () => false, routing: routingOf(session, 'inference'), losses: [] }),
    buffer: (name, layer) => session.buffer(name, layer),
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
