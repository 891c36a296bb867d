/** Times the stages of a step from outside: a runtime whose programs note how long they ran. */
import type { Program, Runtime } from '#worker/runtime/index.ts';

/** Suffix of the names of backward graphs. */
const BACKWARD = '.grad';

/** Wraps a runtime. */
export class StageClock {
  /** The runtime that is not timed. */
  readonly plain: Runtime;
  /** The timed one. */
  readonly runtime: Runtime;
  #milliseconds = new Map<string, number>();
  #firstBackwardAt: number | undefined;

  constructor(runtime: Runtime) {
    this.plain = runtime;
    this.runtime = {
      provider: runtime.provider,
      threads: runtime.threads,
      device: runtime.device,
      compile: async (graph, options) => this.#timed(await runtime.compile(graph, options)),
      endPlacement: () => runtime.endPlacement(),
      release: () => runtime.release(),
    };
  }

  /** Time in each kind of stage since `reset`, by name of its graph. */
  get milliseconds(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#milliseconds);
  }

  /** When the first backward program started, on the clock of `performance.now`. */
  get firstBackwardAt(): number | undefined {
    return this.#firstBackwardAt;
  }

  /** Starts again from zero. */
  reset(): void {
    this.#milliseconds = new Map();
    this.#firstBackwardAt = undefined;
  }

  #timed(program: Program): Program {
    return {
      name: program.name,
      inputs: program.inputs,
      outputs: program.outputs,
      release: () => program.release(),
      run: (feeds, fetches) => {
        const started = performance.now();
        if (program.name.endsWith(BACKWARD)) this.#firstBackwardAt ??= started;
        const results = program.run(feeds, fetches);
        const spent = performance.now() - started;
        this.#milliseconds.set(program.name, (this.#milliseconds.get(program.name) ?? 0) + spent);
        return results;
      },
    };
  }
}
