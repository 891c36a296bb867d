/** What the host needs of the program around it. The host itself touches only contract, link, store and report. */
import type { DatasetEntry, DatasetInspection, PreviewRow } from '#core/contract/dataset.ts';
import type { ExpertPreview, MethodInfo, RunPlan } from '#core/contract/method.ts';
import type { ModelSummary } from '#core/contract/model.ts';
import type {
  ExportProgress,
  ExportRequest,
  ExportResult,
  RefusedFormat,
} from '#core/contract/run-export.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import type { DeviceInfo } from '#core/contract/settings.ts';
import type { AskProgress, AskRequest } from '#core/contract/suite-score.ts';
import type { Link } from '#core/link/index.ts';

/** How a process ended, as the operating system tells it; both null when it does not. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** A training process that was just started. */
export interface WorkerProcess {
  readonly link: Link;
  readonly exited: Promise<ProcessExit>;
  /** The last lines it wrote to stderr. */
  errorTail(): string;
  /** Ends it at once. */
  kill(): void;
  /** Lets it go on alone: this process no longer waits for it. */
  release(): void;
}

/** How to start a training process. */
export interface SpawnOptions {
  /** It survives this process. */
  readonly detached: boolean;
  /** Where a detached one writes its errors: a pipe would break with this process, and the worker at its next line. */
  readonly errorLog: string;
}

/** Starts a training process. */
export type SpawnWorker = (options: SpawnOptions) => WorkerProcess;

/** Reads checkpoint folders. */
export interface ModelPort {
  /** Headers and configuration only. Problems of the folder are in the summary, not thrown. */
  inspect(path: string): Promise<ModelSummary>;
  /** Reads every byte. */
  sha256(path: string): Promise<string>;
}

/** A data set, and how to read it. */
export interface DataSource {
  readonly path: string;
  readonly mapping: Readonly<Record<string, string>>;
}

/** How a model will read a data set. */
export interface DataView {
  readonly modelPath: string;
  readonly maxLength: number;
  readonly lossOn: 'completion' | 'all';
}

/** Reads data sets. */
export interface DataPort {
  /** Format, columns, rows and hash; `mapping` by hand where the format is not recognised. */
  open(
    path: string,
    mapping?: Readonly<Record<string, string>>,
  ): Promise<Omit<DatasetEntry, 'id' | 'name' | 'path' | 'addedMs'>>;
  /** Reads every row, and tells now and then how many it has read. */
  inspect(source: DataSource, view: DataView, onProgress: (rows: number) => void): Promise<DatasetInspection>;
  /** Rows from `fromRow` (1-based) on, as tokens. */
  preview(source: DataSource, view: DataView, fromRow: number, rows: number): Promise<PreviewRow[]>;
  /** First rows as they are, values as JSON text. */
  sample(source: DataSource, rows: number): Promise<Record<string, string>[]>;
}

/** Knows methods and what a run needs. */
export interface PlannerPort {
  methods(): Promise<MethodInfo[]>;
  /** `spec` with absolute paths. Problems are in the plan, not thrown. */
  plan(spec: RunSpec): Promise<RunPlan>;
  /** Which experts the method of `spec` would choose. @param cacheDir for tokenized data. */
  previewExperts(spec: RunSpec, cacheDir: string): Promise<ExpertPreview>;
}

/** Asks a run a suite, and keeps the score beside it. @param signal ends it at once; it then throws. */
type AskSuite = (
  request: AskRequest,
  onProgress: (progress: AskProgress) => void,
  signal: AbortSignal,
) => Promise<void>;

/** Writes trained models for use elsewhere. */
interface ExportPort {
  /** What the run in `runDir` cannot be exported as. */
  refused(runDir: string): Promise<RefusedFormat[]>;
  /** @param signal ends it at once, and leaves nothing of it; it then throws. */
  write(
    request: ExportRequest,
    onProgress: (progress: ExportProgress) => void,
    signal: AbortSignal,
  ): Promise<ExportResult>;
}

/** Everything `createHost` is given. */
export interface HostPorts {
  /** Data folder: `app.db`, `runs/`, `uploads/`, `cache/`. Created when missing. */
  readonly home: string;
  readonly version: string;
  readonly shell: 'electron' | 'node';
  /**
   * `exclusive`: this host owns the queue of the data folder; a second one is refused.
   * `single`: it only starts runs of its own and leaves the queue alone, so it may work beside an exclusive one.
   */
  readonly role: 'exclusive' | 'single';
  /** Keep training when this process ends. */
  readonly detachWorkers: boolean;
  readonly spawnWorker: SpawnWorker;
  readonly models: ModelPort;
  readonly data: DataPort;
  readonly planner: PlannerPort;
  readonly askSuite: AskSuite;
  readonly exports: ExportPort;
  readonly device: () => Promise<DeviceInfo>;
  /** Requests the program made over a network so far; anything but 0 is a bug. */
  readonly networkRequests: () => number;
  /** Opens a dialog of the shell and returns the chosen path; absent where the shell has none. */
  readonly choosePath?: (kind: 'folder' | 'data' | 'run-spec') => Promise<string | null>;
  /** Folder of the bundled sample: `model/`, `data/`, `demo.json`. */
  readonly sampleDir: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Told of every bug that was answered with `internal`. */
  readonly reportBug: (error: unknown) => void;
}
