import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { InvariantError, UserError } from '#core/contract/errors.ts';
import { makeTemporaryFolder } from '#core/process/temporary-folder.ts';
import { GraphBuilder, emit, hash, op } from '#worker/graph/index.ts';
import type { Dialect, Graph } from '#worker/graph/index.ts';
import { loadBinding, type NativeSession } from './binding.ts';
import { DeviceMemory } from './device-tensor.ts';
import { readPlacement, type PlacedNodes } from './placement.ts';
import { SessionProgram, UNREADABLE } from './program.ts';
import type { Program } from './program.ts';

/** How a graph is compiled. */
export interface CompileOptions {
  /** That of the runtime's provider by default; `reference` also runs float64 graphs, on the CPU. */
  readonly dialect?: Dialect;
  /** False: what it runs is left out of what `recordPlacement` records. */
  readonly recorded?: boolean;
}

/** What computes: an execution provider of ONNX Runtime. */
export type ProviderName = 'cpu' | 'webgpu';

/** Compiles graphs into programs, each once. */
export interface Runtime {
  readonly provider: ProviderName;
  readonly threads: number;
  /** The memory of the GPU; null on the CPU. */
  readonly device: DeviceMemory | null;
  /** The program of a graph; the same one for equal graphs. Rejects with InvariantError when ONNX Runtime refuses it. */
  compile(graph: Graph, options?: CompileOptions): Promise<Program>;
  /** Which nodes ran where since programs were compiled; ends the recording. Empty unless `recordPlacement` asked for it. */
  endPlacement(): PlacedNodes[];
  /** Unloads every program. */
  release(): void;
}

/** Settings shared by all programs. */
export interface RuntimeOptions {
  /** Records which nodes run on which provider; costs time. */
  readonly recordPlacement?: boolean;
  /** `cpu` by default. Whether there is a GPU for `webgpu` shows when something is compiled: see `findAdapter`. */
  readonly provider?: ProviderName;
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
  provider = 'cpu',
  threads = availableParallelism(),
  arena = process.env['MALLOC_TRIM_THRESHOLD_'] === undefined,
  recordPlacement = false,
}: RuntimeOptions = {}): Runtime {
  const programs = new Map<string, { readonly program: SessionProgram; users: number }>();
  const settings = { threads, arena, profile: null };
  let isRecording = recordPlacement;
  /** Made when there is something to record. */
  let profiles: string | null = null;
  let profileCount = 0;
  const device = provider === 'cpu' ? null : createDeviceMemory(settings);

  // ONNX Runtime adds the time to a name, and two sessions of the same moment would write into one file.
  const nextProfile = (): string =>
    path.join((profiles ??= makeTemporaryFolder('profiles')), String(profileCount++));

  const obtain = (graph: Graph, dialect: Dialect, recorded: boolean): Program => {
    const key = `${dialect} ${hash(graph)}`;
    const known = programs.get(key);
    if (known !== undefined) {
      known.users++;
      return known.program;
    }
    const own = recorded && isRecording ? { ...settings, profile: nextProfile() } : settings;
    const program = load(graph, dialect, own, device, () => {
      const entry = programs.get(key);
      if (entry === undefined || --entry.users > 0) return;
      programs.delete(key);
      entry.program.dispose();
    });
    programs.set(key, { program, users: 1 });
    return program;
  };

  const removeProfiles = (): void => {
    if (profiles !== null) rmSync(profiles, { recursive: true });
    profiles = null;
  };

  return {
    provider,
    threads,
    device,
    compile: (graph, { dialect = provider, recorded = true } = {}) =>
      new Promise((resolve) => {
        resolve(obtain(graph, dialect, recorded));
      }),
    endPlacement() {
      isRecording = false;
      if (profiles === null) return [];
      for (const { program } of programs.values()) program.endProfiling();
      const placed = readPlacement(profiles);
      removeProfiles();
      return placed;
    },
    release() {
      device?.release();
      for (const { program } of programs.values()) program.dispose();
      programs.clear();
      removeProfiles();
    },
  };
}

/** What all sessions of a runtime share. */
interface SessionSettings {
  readonly threads: number;
  readonly arena: boolean;
  /** How the name of the session's profile begins; null: none is written. */
  readonly profile: string | null;
}

function load(
  graph: Graph,
  dialect: Dialect,
  options: SessionSettings,
  device: DeviceMemory | null,
  onRelease: () => void,
): SessionProgram {
  const names = {
    name: graph.name,
    inputs: graph.inputs.map((input) => input.name),
    outputs: graph.outputs.map((output) => output.name),
  };
  const session = createSession(graph, dialect, options);
  const onDevice = dialect === 'webgpu' ? device : null;
  return new SessionProgram(loadBinding(), session, names, onDevice, dialect === 'cpu', onRelease);
}

function createSession(
  graph: Graph,
  dialect: Dialect,
  options: SessionSettings,
  more: object = {},
): NativeSession {
  const model = dialect === 'cpu' ? emit(graph, dialect, { unreadable: UNREADABLE }) : emit(graph, dialect);
  try {
    return loadBinding().createSession(model, { ...sessionOptions(dialect, options), ...more });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (/Failed to get a WebGPU adapter|No supported adapters/.test(message)) {
      throw new UserError(
        'runtime/no-adapter',
        'No graphics adapter that WebGPU can use was found',
        'Use engine.provider "cpu", or install the driver of the GPU (on Linux its Vulkan driver).',
        { cause: error },
      );
    }
    throw new InvariantError(`${graph.name}: ONNX Runtime refuses the ${dialect} model: ${message}`, {
      cause: error,
    });
  }
}

function createDeviceMemory(settings: SessionSettings): DeviceMemory {
  return new DeviceMemory(loadBinding(), {
    copies(dtype, rank) {
      const builder = new GraphBuilder('copy');
      const dims = Array.from({ length: rank }, (_unused, axis) => `D${axis}`);
      builder.output('y', builder.input('x', dtype, dims));
      const graph = builder.build();
      return {
        upload: createSession(graph, 'webgpu', settings, { preferredOutputLocation: { y: 'gpu-buffer' } }),
        copy: createSession(graph, 'webgpu', settings),
      };
    },
    widening() {
      const builder = new GraphBuilder('widening');
      builder.output('y', op.cast(builder.input('x', 'float16', ['N']), 'float32'));
      return createSession(builder.build(), 'webgpu', settings);
    },
  });
}

function sessionOptions(dialect: Dialect, { threads, arena, profile }: SessionSettings): object {
  return {
    ...(profile !== null && { enableProfiling: true, profileFilePrefix: profile }),
    executionProviders: [dialect === 'webgpu' ? 'webgpu' : 'cpu'],
    intraOpNumThreads: dialect === 'webgpu' ? 1 : threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    enableCpuMemArena: arena,
    // A pattern is one block for all a run needs, of another size for each shape of its inputs: without an arena such blocks do not
    // fit where earlier ones were, and the heap grew with every step.
    enableMemPattern: arena,
    // Some float64 kernels exist only for the unfused operators. The levels above `basic` cost more time to compile and
    // were not faster: what they fuse is emitted fused.
    graphOptimizationLevel: dialect === 'reference' ? 'disabled' : 'basic',
    logSeverityLevel: 4,
    // Longer spinning makes turns between programs two to four times slower: the threads of one keep the cores busy
    // while the next wants them.
    extra: { session: { intra_op: { spin_duration_us: '50' } } },
  };
}
