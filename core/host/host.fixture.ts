/** A host over a temporary data folder with scripted workers, for tests. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type CallInput, type CallName, type CallOutput, findCall } from '#core/contract/host-api.ts';
import type { ModelSummary } from '#core/contract/model.ts';
import { createHost, type Host } from './create-host.ts';
import type { DataPort, HostPorts } from './ports.ts';
import { ScriptedWorker } from './scripted-worker.fixture.ts';

/** A host under test and what it started. */
export interface TestHost {
  readonly host: Host;
  readonly home: string;
  readonly workers: ScriptedWorker[];
  readonly pushes: { readonly channel: string; readonly payload: unknown }[];
  readonly bugs: unknown[];
  /** Calls, and checks that the reply fits the schema. */
  call<N extends CallName>(name: N, input: CallInput<N>): Promise<CallOutput<N>>;
  /** Registers the tiny model and data set; returns a draft with them. */
  draft(): Promise<CallInput<'runs.start'>>;
}

const modelSummary = (dir: string): ModelSummary => ({
  path: dir,
  name: path.basename(dir),
  family: 'olmoe',
  parameters: { total: 20, active: 10, byKind: { experts: 15, other: 5 } },
  layers: 2,
  moeLayers: 2,
  experts: 4,
  expertsPerToken: 2,
  hiddenSize: 8,
  vocabularySize: 32,
  dtype: 'float32',
  bytes: 80,
  shards: 1,
  tokenizer: { present: true, vocabularySize: 32, chatTemplate: false },
  problems: [],
});

/** Data sets of one row, all alike. */
export const testData: DataPort = {
  open: (_path, mapping) =>
    Promise.resolve({
      bytes: 30,
      rows: 1,
      fileFormat: 'jsonl',
      columns: ['prompt', 'response'],
      recordFormat: 'prompt-response',
      mapping: mapping ? { ...mapping } : { prompt: 'prompt', response: 'response' },
      sha256: 'e'.repeat(64),
    }),
  inspect: () =>
    Promise.resolve({
      rows: 1,
      tokens: 2,
      trainedTokens: 1,
      truncatedRows: 0,
      longest: 2,
      histogram: [{ upTo: 16, rows: 1 }],
      findings: [],
    }),
  preview: (_source, _view, fromRow) =>
    Promise.resolve([
      { row: fromRow, tokens: [{ text: 'a', id: 1, trained: false, truncated: false, special: false }] },
    ]),
  sample: () => Promise.resolve([{ prompt: '"a"' }]),
};

/** A fresh data folder with a model folder and a data file beside it. */
export function makeHome(): { root: string; home: string; remove: () => void } {
  const root = mkdtempSync(path.join(os.tmpdir(), 'condenser-host-'));
  const model = path.join(root, 'sample/model');
  const data = path.join(root, 'sample/data');
  mkdirSync(model, { recursive: true });
  mkdirSync(data, { recursive: true });
  writeFileSync(path.join(data, 'train.jsonl'), '{"prompt":"a","response":"b"}\n');
  return {
    root,
    home: path.join(root, 'home'),
    remove: () => rmSync(root, { recursive: true, force: true, maxRetries: 5 }),
  };
}

/** Opens a host on `root`, made by `makeHome`. */
export function openTestHost(root: string, ports: Partial<HostPorts> = {}): TestHost {
  const home = path.join(root, 'home');
  const workers: ScriptedWorker[] = [];
  const bugs: unknown[] = [];
  const pushes: TestHost['pushes'] = [];
  const host = createHost({
    home,
    version: '1.2.3',
    shell: 'node',
    role: 'exclusive',
    detachWorkers: false,
    spawnWorker: () => {
      const worker = new ScriptedWorker();
      workers.push(worker);
      return worker;
    },
    models: {
      inspect: (dir) => Promise.resolve(modelSummary(dir)),
      sha256: () => Promise.resolve('f'.repeat(64)),
    },
    data: testData,
    planner: {
      methods: () => Promise.resolve([]),
      plan: (spec) =>
        Promise.resolve({
          ok: true,
          problems: [],
          steps: spec.train.steps,
          trainableParameters: 10,
          totalParameters: 20,
          memoryMB: {
            low: 1,
            high: 2,
            parts: { weights: 1 },
            availableMB: 100,
            recomputedLayers: 0,
            streamedLayers: 0,
          },
          diskMB: { perCheckpoint: 1, total: 3, freeMB: 100 },
        }),
      previewExperts: () =>
        Promise.resolve({
          layers: [0],
          scores: [[0.75, 0.25]],
          experts: [[0]],
          trainableParameters: 5,
          storedBytes: 20,
          shares: [],
        }),
    },
    askSuite: () => Promise.resolve(),
    exports: {
      refused: () => Promise.resolve([]),
      write: ({ format, dtype, out }) =>
        Promise.resolve({ format, dtype, out, step: 3, files: [], tensors: 0, verified: 'equal', notes: [] }),
    },
    device: () =>
      Promise.resolve({
        cpu: { model: 'test', cores: 2, instructionSets: [] },
        memoryMB: { total: 100, available: 50 },
        diskFreeMB: 10,
        providers: [{ name: 'cpu', used: true, reason: 'Trains here.' }],
        versions: {},
      }),
    networkRequests: () => 0,
    sampleDir: path.join(root, 'sample'),
    now: Date.now,
    reportBug: (error) => bugs.push(error),
    ...ports,
  });
  host.onPush((channel, payload) => pushes.push({ channel, payload }));

  const call: TestHost['call'] = async (name, input) => {
    const result = await host.call(name, input);
    if (!result.ok) throw Object.assign(new Error(result.error.message), { code: result.error.code });
    const schema = findCall(name)?.output;
    // The schema belongs to the name.
    return schema?.parse(result.value) as CallOutput<typeof name>;
  };
  return {
    host,
    home,
    workers,
    pushes,
    bugs,
    call,
    draft: async () => {
      const { handle: modelHandle } = await call('files.register', { path: path.join(root, 'sample/model') });
      const { handle: dataHandle } = await call('files.register', {
        path: path.join(root, 'sample/data/train.jsonl'),
      });
      const model = await call('models.add', { handle: modelHandle });
      const dataset = await call('datasets.import', { handle: dataHandle });
      return {
        name: 'a run',
        model: { id: model.id },
        data: { train: [dataset.id], validation: { fraction: 0.1 } },
        method: { name: 'full' },
        train: { steps: 3 },
      };
    },
  };
}

/** Starts a run of `t` and lets it end; its id. */
export async function endedRun(t: TestHost): Promise<string> {
  const before = t.workers.length;
  const { id } = await t.call('runs.start', await t.draft());
  await until('a worker', () => t.workers[before]?.start !== undefined);
  const worker = t.workers[before];
  worker?.prepare();
  worker?.end('completed');
  await until('the end', async () => (await t.call('runs.get', { id })).state === 'completed');
  return id;
}

/** Waits until `condition` holds, at most `limitMs`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = 10_000,
): Promise<void> {
  const end = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 2);
    });
  }
}
