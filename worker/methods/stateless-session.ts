/** A session for methods that leave routing alone and keep no buffers. */
import type { MethodSession } from '#worker/model/index.ts';

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
