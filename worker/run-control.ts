/** Commands of the host, handed to the trainer between micro-batches (WP3). */
import { setImmediate } from 'node:timers/promises';
import type { ErrorInfo } from '#core/contract/errors.ts';
import type { HostToWorker } from '#core/contract/worker-protocol.ts';
import type { TrainingCommand, TrainingControl } from '#worker/train/index.ts';

/** What the host may ask of a run that goes on. */
export type CommandMessage = Extract<HostToWorker, { type: 'pause' | 'resume' | 'stop' | 'checkpoint' }>;

/** The answer to command `request`, given when the trainer has taken it. */
export interface CommandReply {
  readonly request: number;
  readonly ok: boolean;
  readonly error?: ErrorInfo;
}

/** What a command changes besides the trainer's next move. */
export interface ControlHooks {
  paused(paused: boolean): void;
  stoppedBeforePrepared(): void;
}

/** The trainer's control, and the inlet for commands. */
export interface RunControl extends TrainingControl {
  next(): Promise<TrainingCommand>;
  command(message: CommandMessage, reply: (reply: CommandReply) => void): void;
  /** Connects what commands change; commands that came before wait. */
  attach(hooks: ControlHooks): void;
  /** From here on a stop waits for the next micro-batch. */
  prepared(): void;
}

/** Queues commands until the trainer asks. */
export function createRunControl(): RunControl {
  const waiting: { readonly message: CommandMessage; readonly reply: (reply: CommandReply) => void }[] = [];
  let hooks: ControlHooks | undefined;
  let paused = false;
  let isPrepared = false;
  let wake: (() => void) | undefined;

  const stopEarly = (): void => {
    if (isPrepared || hooks === undefined) return;
    const stop = waiting.find(({ message }) => message.type === 'stop');
    if (stop === undefined) return;
    stop.reply({ request: stop.message.request, ok: true });
    hooks.stoppedBeforePrepared();
  };

  const setPaused = (value: boolean): void => {
    if (paused === value) return;
    paused = value;
    hooks?.paused(value);
  };

  return {
    command: (message, reply) => {
      waiting.push({ message, reply });
      wake?.();
      stopEarly();
    },
    attach: (given) => {
      hooks = given;
      stopEarly();
    },
    prepared: () => {
      isPrepared = true;
    },
    next: async () => {
      // One turn of the event loop: a trainer that only awaits its own promises would never let a message in.
      await setImmediate();
      for (;;) {
        const item = waiting.shift();
        if (item === undefined) {
          if (!paused) return 'continue';
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          wake = undefined;
          continue;
        }
        const { message, reply } = item;
        reply({ request: message.request, ok: true });
        switch (message.type) {
          case 'pause':
            setPaused(true);
            break;
          case 'resume':
            setPaused(false);
            break;
          case 'checkpoint':
            return 'checkpoint';
          case 'stop':
            return message.keep ? 'stop' : 'discard';
        }
      }
    },
  };
}
