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

/** A runtime on `threads` threads; by default as many as the machine has cores, more only slow it down. */
export function createRuntime({
  threads = availableParallelism(),
}: { readonly threads?: number } = {}): Runtime {
  const programs = new Map<string, { readonly program: SessionProgram; users: number }>();

  return {
    threads,
    // One tick throughout, so that two callers of one graph cannot both load it.
    async compile(graph, { dialect = 'cpu' } = {}) {
      const key = `${dialect} ${hash(graph)}`;
      const known = programs.get(key);
      if (known !== undefined) {
        known.users++;
        return known.program;
      }
      const program = load(graph, dialect, threads, () => {
        const entry = programs.get(key);
        if (entry === undefined || --entry.users > 0) return;
        programs.delete(key);
        entry.program.dispose();
      });
      programs.set(key, { program, users: 1 });
      return program;
    },
    release() {
      for (const { program } of programs.values()) program.dispose();
      programs.clear();
    },
  };
}

function load(graph: Graph, dialect: Dialect, threads: number, onRelease: () => void): SessionProgram {
  const binding = loadBinding();
  const model = emit(graph, dialect);
  const names = {
    name: graph.name,
    inputs: graph.inputs.map((input) => input.name),
    outputs: graph.outputs.map((output) => output.name),
  };
  try {
    const session = binding.createSession(model, sessionOptions(dialect, threads));
    return new SessionProgram(binding, session, names, onRelease);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new InvariantError(`${graph.name}: ONNX Runtime refuses the ${dialect} model: ${message}`, {
      cause: error,
    });
  }
}

function sessionOptions(dialect: Dialect, threads: number): object {
  return {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // Some float64 kernels exist only for the unfused operators.
    graphOptimizationLevel: dialect === 'reference' ? 'disabled' : 'basic',
    logSeverityLevel: 4,
    // Longer spinning makes turns between programs two to four times slower: the threads of one keep the cores busy
    // while the next wants them.
    extra: { session: { intra_op: { spin_duration_us: '50' } } },
  };
}
