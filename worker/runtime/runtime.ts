import { availableParallelism } from 'node:os';
import { InvariantError } from '#core/contract/errors.ts';
import { emit, hash } from '#worker/graph/index.ts';
import type { Dialect, Graph } from '#worker/graph/index.ts';
import { loadBinding } from './binding.ts';
import { SessionProgram } from './program.ts';
import type { Program } from './program.ts';

/** How a graph is compiled. */
export interface CompileOptions {
  /** `cpu` by default; `reference` also runs float64 graphs. */
  readonly dialect?: Dialect;
}

/** Compiles graphs into programs, each once. */
export interface Runtime {
  readonly threads: number;
  /** The program of a graph; the same one for equal graphs. Rejects with InvariantError when ONNX Runtime refuses it. */
  compile(graph: Graph, options?: CompileOptions): Promise<Program>;
  /** Unloads every program. */
  release(): void;
}

/** Settings shared by all programs. */
export interface RuntimeOptions {
  /** Threads of a run; by default as many as the machine has cores, more only slow it down. */
  readonly threads?: number;
  /**
   * Each program keeps the memory of its largest run for the next one. Without it memory goes back to the allocator after
   * every run: an attention stage of 512 tokens and its gradient peaked at 0.48 GB instead of 0.81, and the forward run
   * took 1.5 to 2 times as long, unless the allocator keeps what is freed. Default: off where the process was started
   * with such an allocator (`MALLOC_TRIM_THRESHOLD_`), else on.
   */
  readonly arena?: boolean;
}

/** A runtime; nothing is loaded before the first `compile`. */
export function createRuntime({
  threads = availableParallelism(),
  arena = process.env['MALLOC_TRIM_THRESHOLD_'] === undefined,
}: RuntimeOptions = {}): Runtime {
  const programs = new Map<string, { readonly program: SessionProgram; users: number }>();

  const obtain = (graph: Graph, dialect: Dialect): Program => {
    const key = `${dialect} ${hash(graph)}`;
    const known = programs.get(key);
    if (known !== undefined) {
      known.users++;
      return known.program;
    }
    const program = load(graph, dialect, { threads, arena }, () => {
      const entry = programs.get(key);
      if (entry === undefined || --entry.users > 0) return;
      programs.delete(key);
      entry.program.dispose();
    });
    programs.set(key, { program, users: 1 });
    return program;
  };

  return {
    threads,
    compile: (graph, { dialect = 'cpu' } = {}) =>
      new Promise((resolve) => {
        resolve(obtain(graph, dialect));
      }),
    release() {
      for (const { program } of programs.values()) program.dispose();
      programs.clear();
    },
  };
}

function load(
  graph: Graph,
  dialect: Dialect,
  options: Required<RuntimeOptions>,
  onRelease: () => void,
): SessionProgram {
  const binding = loadBinding();
  const model = emit(graph, dialect);
  const names = {
    name: graph.name,
    inputs: graph.inputs.map((input) => input.name),
    outputs: graph.outputs.map((output) => output.name),
  };
  try {
    const session = binding.createSession(model, sessionOptions(dialect, options));
    return new SessionProgram(binding, session, names, onRelease);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new InvariantError(`${graph.name}: ONNX Runtime refuses the ${dialect} model: ${message}`, {
      cause: error,
    });
  }
}

function sessionOptions(dialect: Dialect, { threads, arena }: Required<RuntimeOptions>): object {
  return {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    enableCpuMemArena: arena,
    // Some float64 kernels exist only for the unfused operators. The levels above `basic` cost more time to compile and
    // were not faster: what they fuse is emitted fused.
    graphOptimizationLevel: dialect === 'reference' ? 'disabled' : 'basic',
    logSeverityLevel: 4,
    // Longer spinning makes turns between programs two to four times slower: the threads of one keep the cores busy
    // while the next wants them.
    extra: { session: { intra_op: { spin_duration_us: '50' } } },
  };
}
