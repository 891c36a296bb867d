/** Runs on a graphics adapter: the results of the CPU, from one to the other and back, and what happens when it is lost. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { StepMetrics } from '#core/contract/metrics.ts';
import type { Placement, RunFacts } from '#core/contract/run.ts';
import { parseRunSpec, type ProviderChoice, type RunSpecInput } from '#core/contract/run-spec.ts';
import { UserError, invariant } from '#core/contract/errors.ts';
import type * as Graph from '#worker/graph/index.ts';
import type * as Runtime from '#worker/runtime/index.ts';
import { passedLine, probeBeside, type AdapterProbe } from '#worker/runtime/index.ts';
import { hasAdapter, holdAdapter } from '#worker/testing/index.ts';
import { chooseProvider } from './choose-provider.ts';
import { planRun } from './plan-run.ts';
import { train } from './train.ts';
import { tryTraining } from './try-training.ts';
import type { TrainingCommand } from './training-run.ts';

const adapter = vi.hoisted(() => ({ isLost: false, isFull: false, isOutdated: false, isWrong: false }));

/** Programs that find their adapter gone, once it is, or miscompute a loss on it, and memory that has no room left. */
vi.mock('#worker/runtime/index.ts', async (importOriginal) => {
  const original = await importOriginal<typeof Runtime>();
  const losing = (program: Runtime.Program, onDevice: boolean): Runtime.Program => ({
    name: program.name,
    inputs: program.inputs,
    outputs: program.outputs,
    run: (feeds, fetches = {}) => {
      if (adapter.isLost) throw new UserError('runtime/device-lost', 'The GPU was lost.');
      const results = program.run(feeds, fetches);
      const { loss } = fetches;
      if (adapter.isWrong && onDevice && loss !== undefined && 'data' in loss) loss.data[0] = 100;
      return results;
    },
    release: () => program.release(),
  });
  return {
    ...original,
    createRuntime: (...options: Parameters<typeof Runtime.createRuntime>): Runtime.Runtime => {
      const runtime = original.createRuntime(...options);
      const { device } = runtime;
      if (device !== null) {
        const upload = device.upload.bind(device);
        device.upload = (view) => {
          if (adapter.isFull) throw new UserError('runtime/out-of-memory', 'The GPU is full.');
          return upload(view);
        };
      }
      return {
        ...runtime,
        compile: async (...graph) => losing(await runtime.compile(...graph), device !== null),
      };
    },
  };
});

/** Attention in a version of the operator set of which the provider lacks some operators. */
vi.mock('#worker/graph/index.ts', async (importOriginal) => {
  const original = await importOriginal<typeof Graph>();
  return {
    ...original,
    emit: (...[graph, dialect]: Parameters<typeof Graph.emit>) => {
      const model = Buffer.from(original.emit(graph, dialect));
      if (adapter.isOutdated && dialect === 'webgpu' && graph.name.startsWith('attention')) {
        const at = model.lastIndexOf(opset(23));
        invariant(at > 0, 'a model names the version of its operators');
        model.set(opset(26), at);
      }
      return model;
    },
  };
});

/** How a model names the version of ONNX's own operators: field 8, with an empty domain and a number. */
const opset = (version: number) => Buffer.from([0x42, 4, 0x0a, 0, 0x10, version]);

const sample = path.join(import.meta.dirname, '../../resources/sample');
const probe = probeBeside(process.execPath, path.join(import.meta.dirname, '../main.ts'));
const STEPS = 3;
let work = '';
let rows = '';

beforeAll(() => {
  work = mkdtempSync(path.join(tmpdir(), 'condenser-device-'));
  rows = path.join(work, 'rows.jsonl');
  const all = readFileSync(path.join(sample, 'data/word-problems.jsonl'), 'utf8').split('\n');
  writeFileSync(rows, all.slice(0, 12).join('\n'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

interface Recorded {
  readonly steps: StepMetrics[];
  readonly events: string[];
  readonly placements: Placement[];
  facts: RunFacts | undefined;
}

async function run(
  name: string,
  provider: ProviderChoice,
  options: {
    readonly resume?: boolean;
    readonly method?: RunSpecInput['method'];
    readonly deviceMemoryMB?: number;
    readonly probe?: AdapterProbe;
    readonly command?: (asked: number) => TrainingCommand;
  } = {},
): Promise<Recorded> {
  const runDir = path.join(work, name);
  mkdirSync(runDir, { recursive: true });
  const recorded: Recorded = { steps: [], events: [], placements: [], facts: undefined };
  let asked = 0;
  await train({
    spec: parseRunSpec({
      model: { path: path.join(sample, 'sample-moe') },
      data: { train: [{ path: rows }], maxLength: 64 },
      method: options.method ?? { name: 'full' },
      train: { steps: STEPS, microBatch: 1, gradientAccumulation: 1, learningRate: 1e-4, warmupRatio: 0 },
      checkpoint: { everySteps: 1 },
      engine: { provider, deviceMemoryMB: options.deviceMemoryMB ?? null },
    }),
    runDir,
    cacheDir: path.join(work, 'cache'),
    resume: options.resume ?? false,
    probe: options.probe ?? probe,
    control: { next: () => options.command?.(asked++) ?? 'continue' },
    observer: {
      prepared: (facts) => {
        recorded.facts = facts;
      },
      step: (metrics) => recorded.steps.push(metrics),
      evaluation: () => undefined,
      placed: (placement) => recorded.placements.push(placement),
      checkpoint: () => undefined,
      event: (_kind, _step, message) => recorded.events.push(message),
      progress: () => undefined,
    },
  });
  return recorded;
}

const numbers = ({ steps }: Recorded) => steps.flatMap(({ loss, gradNorm }) => [loss, gradNorm]);

function expectClose(got: readonly number[], want: readonly number[]): void {
  expect(got).toHaveLength(want.length);
  got.forEach((value, at) => expect(value / (want[at] ?? NaN)).toBeCloseTo(1, 3));
}

/** A probe that takes whatever there is for a GPU. */
function callingItGpu(): AdapterProbe {
  const script = path.join(work, 'probe.mjs');
  const log = 'OrtHardwareDevice {vendor_id:0x10de, device_id:0x2330, vendor:, type:1, metadata: []}';
  writeFileSync(script, `console.error('${log}'); console.log('${passedLine({ hasFloat16: false })}');`);
  return { node: process.execPath, script };
}

describe.runIf(hasAdapter)('on a software adapter', () => {
  beforeAll(holdAdapter);

  test('a run trains as on the CPU, goes over to it and comes back', async () => {
    const onCpu = await run('cpu', 'cpu');
    expect(onCpu.facts?.provider).toBe('cpu');
    expect(onCpu.steps[0]?.deviceMB).toBeUndefined();

    const stopped = await run('moved', 'webgpu', { command: (asked) => (asked === 1 ? 'stop' : 'continue') });
    expect(stopped.facts).toMatchObject({ provider: 'webgpu', adapter: 'a software adapter' });
    expect(stopped.events).toContain('Trains on a software adapter, as asked.');
    expect(stopped.steps[0]?.deviceMB).toBeGreaterThan(20);
    expect(onCpu.placements).toEqual([]);
    expect(stopped.placements).toHaveLength(1);
    expect(stopped.placements[0]?.leftToCpu).toEqual([]);
    expect(stopped.placements[0]?.onAdapter).toBeGreaterThan(100);
    const middle = await run('moved', 'cpu', {
      resume: true,
      command: (asked) => (asked === 1 ? 'stop' : 'continue'),
    });
    expect(middle.facts?.provider).toBe('cpu');
    const last = await run('moved', 'webgpu', { resume: true });
    expectClose([stopped, middle, last].flatMap(numbers), numbers(onCpu));
  }, 300_000);

  test.each([
    ['isLost', 'runtime/device-lost'],
    ['isFull', 'runtime/out-of-memory'],
  ] as const)(
    'an adapter that %s ends the run with a checkpoint, from which the CPU goes on',
    async (how, code) => {
      const command = (asked: number): TrainingCommand => {
        adapter[how] = asked === 2;
        return 'continue';
      };
      await expect(run(how, 'webgpu', { command })).rejects.toMatchObject({ code });
      adapter[how] = false;
      const resumed = await run(how, 'cpu', { resume: true });
      expect(resumed.steps.map(({ step }) => step)).toEqual([3]);
      expectClose(numbers(resumed), numbers(await run(`${how} whole`, 'cpu')).slice(-2));
    },
    300_000,
  );

  test('adapters leave out there what they leave out on the CPU; operators that the provider lacks are told', async () => {
    const method = { name: 'lora', options: { rank: 4, dropout: 0.25 } };
    const onCpu = await run('dropout-cpu', 'cpu', { method });
    adapter.isOutdated = true;
    const outdated = await run('dropout', 'webgpu', { method });
    adapter.isOutdated = false;
    expectClose(numbers(outdated), numbers(onCpu));
    const { leftToCpu = [] } = outdated.placements[0] ?? {};
    expect(leftToCpu).not.toEqual([]);
    const left = leftToCpu.map(({ operator, count }) => `${count} × ${operator}`).join(', ');
    const alert = `The graphics adapter leaves operators to the CPU: ${left}.`;
    expect(outdated.events.filter((message) => message === alert)).toHaveLength(1);
  }, 120_000);

  test('the placement of a step is told before any run, and that of what the provider lacks', async () => {
    const model = path.join(sample, 'sample-moe');
    const placement = await tryTraining(model);
    expect(placement.onAdapter).toBeGreaterThan(500);
    expect(placement.leftToCpu).toEqual([]);
    adapter.isOutdated = true;
    const { leftToCpu } = await tryTraining(model);
    adapter.isOutdated = false;
    expect(leftToCpu).not.toEqual([]);
    adapter.isWrong = true;
    await expect(tryTraining(model)).rejects.toMatchObject({
      code: 'runtime/wrong-result',
      message: expect.stringContaining('A training step on the graphics adapter has a loss of') as string,
    });
    adapter.isWrong = false;
  }, 120_000);

  test('left to itself a run takes a step on both, and a GPU that computes wrong not at all', async () => {
    const chosen = async (name: string) => {
      const { events } = await run(name, 'auto', { probe: callingItGpu(), command: () => 'stop' });
      return events[0];
    };
    expect(await chosen('rehearsed')).toMatch(
      /^Trains on the [CG]PU: a step took [\d.]+ s on NVIDIA GPU \(device 0x2330\) and [\d.]+ s on the CPU\.$/,
    );
    adapter.isWrong = true;
    const reason = await chosen('wrong');
    adapter.isWrong = false;
    expect(reason).toMatch(
      /^Trains on the CPU: the loss of a step is [\d.]+ on NVIDIA GPU .* and [\d.]+ on the CPU\.$/,
    );
  }, 120_000);

  test('left to itself a run does not take a software adapter', async () => {
    const rehearse = vi.fn(() => Promise.resolve({ seconds: 1, loss: 2 }));
    expect(await chooseProvider({ asked: 'auto', probe, rehearse })).toEqual({
      provider: 'cpu',
      reason: 'Trains on the CPU: a software adapter would be slower.',
    });
    expect(rehearse).not.toHaveBeenCalled();
  });
});

test('a plan for a graphics adapter says what it takes there, and what is in the way', async () => {
  vi.stubEnv('VK_ICD_FILENAMES', '/nonexistent.json');
  const spec = parseRunSpec({
    model: { path: path.join(sample, 'sample-moe') },
    data: { train: [{ path: rows }] },
    method: { name: 'full' },
    train: { optimizer: { moments: 'bfloat16' } },
    engine: { provider: 'webgpu' },
  });
  const { problems, deviceMB, timeSeconds } = await planRun(spec, probe);
  expect(problems).toEqual([
    'engine.provider "webgpu": No graphics adapter that WebGPU can use was found. Use "auto" or "cpu".',
  ]);
  expect(deviceMB?.measures).toEqual([
    'Optimizer moments stay in host memory, and the processor moves the weights.',
  ]);
  expect(timeSeconds).toBeUndefined();
  vi.unstubAllEnvs();
});

test('a plan that does not fit on the adapter says what is needed, and so does the run', async () => {
  const spec = parseRunSpec({
    model: { path: path.join(sample, 'sample-moe') },
    data: { train: [{ path: rows }] },
    method: { name: 'full' },
    engine: { provider: 'webgpu', deviceMemoryMB: 10 },
  });
  const { problems, deviceMB } = await planRun(spec, probe);
  const needed = Math.ceil(deviceMB?.total ?? NaN).toLocaleString('en-US');
  expect(problems[0]).toMatch(
    `At least ${needed} MB of the graphics adapter's memory are needed, engine.deviceMemoryMB allows 10.`,
  );
  expect(deviceMB?.measures).toHaveLength(2);
});

test('left to itself a run that does not fit on the adapter trains on the CPU, and says why', async () => {
  const { facts, events } = await run('too large', 'auto', {
    deviceMemoryMB: 1,
    probe: callingItGpu(),
    method: { name: 'lora', options: { rank: 4 } },
    command: (asked) => (asked === 1 ? 'stop' : 'continue'),
  });
  expect(facts?.provider).toBe('cpu');
  expect(events).toContainEqual(
    expect.stringMatching(
      /^Trains on the CPU: a step on NVIDIA GPU \(device 0x2330\) failed. At least \d+ MB of the graphics adapter's memory are needed, engine.deviceMemoryMB allows 1$/,
    ),
  );
});

test('without an adapter a run stays on the CPU, and one that asks for it is refused', async () => {
  vi.stubEnv('VK_ICD_FILENAMES', '/nonexistent.json');
  const rehearse = vi.fn(() => Promise.resolve({ seconds: 1, loss: 2 }));
  expect(await chooseProvider({ asked: 'auto', probe, rehearse })).toEqual({
    provider: 'cpu',
    reason: 'Trains on the CPU. No graphics adapter that WebGPU can use was found.',
  });
  await expect(chooseProvider({ asked: 'webgpu', probe, rehearse })).rejects.toMatchObject({
    code: 'runtime/no-adapter',
  });
  vi.unstubAllEnvs();
});
