/** The experts of a run previewed, suites of questions asked, and runs exported, in a process beside this one. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ExpertPreview } from '#core/contract/method.ts';
import type { ExportProgress, ExportRequest } from '#core/contract/run-export.ts';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import { AskOptions, type AskProgress } from '#core/contract/suite-score.ts';
import { readScores } from '#core/store/index.ts';
import { refusedFormats } from '#worker/export/index.ts';
import { previewExperts } from '#worker/train/index.ts';
import { condenser } from './commands/cli.fixture.ts';
import { exportBeside, previewBeside, scoreBeside } from './process-beside.ts';
import { ownWorkerProgram } from './spawn-worker.ts';
import os from 'node:os';
import path from 'node:path';

const sample = path.join(import.meta.dirname, '../../resources/sample');
let work = '';
beforeAll(() => {
  work = mkdtempSync(path.join(os.tmpdir(), 'condenser-preview-test-'));
});
afterAll(() => rmSync(work, { recursive: true }));

const document = (
  options: object,
  train = path.join(sample, 'data/word-problems.jsonl'),
  method: object = { name: 'esft', options: { sampleTokens: 512, ...options } },
) => ({
  model: { path: path.join(sample, 'sample-moe') },
  data: { train: [{ path: train }], maxLength: 64 },
  method,
  train: { steps: 1, microBatch: 2, gradientAccumulation: 1 },
  engine: { threads: 1 },
});

test('the preview names the experts that the run then trains', async () => {
  const runFile = path.join(work, 'RUN.json');
  writeFileSync(runFile, JSON.stringify(document({ share: 0.3 })));
  const planned = await condenser('plan', runFile, '--experts', '--home', work, '--json');
  const preview = ExpertPreview.parse(planned.json()[0]?.['experts']);
  expect(preview.layers).toEqual([0, 1, 2, 3]);
  // More of the routing takes more experts, and a share of all of it all that were chosen.
  const trained = preview.shares.map(({ trainableParameters }) => trainableParameters);
  expect(trained).toEqual(trained.toSorted((a, b) => a - b));
  expect(preview.shares.find(({ share }) => share === 0.3)?.experts).toEqual(preview.experts);

  const out = path.join(work, 'run');
  const run = await condenser('train', runFile, '--out', out, '--home', work, '--json');
  expect(run.status).toBe(0);
  const config = JSON.parse(readFileSync(path.join(out, 'expert_cfg.json'), 'utf8')) as {
    experts: Record<string, number[]>;
  };
  expect(Object.values(config.experts)).toEqual(preview.experts);
  expect((await condenser('plan', runFile, '--experts', '--home', work)).stdout).toMatch(
    /^share +experts of 64 +parameters +in a file$/m,
  );
});

test('beside other methods, what they hold does not train, and two that clash are named at once', async () => {
  const cacheDir = path.join(work, 'cache');
  const beside = async (...methods: object[]) => {
    const esft = { name: 'esft', options: { sampleTokens: 512 } };
    const options = { methods: [...methods, esft] };
    return previewExperts(parseRunSpec(document({}, undefined, { name: 'compose', options })), cacheDir);
  };
  const alone = await previewExperts(parseRunSpec(document({})), cacheDir);
  const free = await beside({ name: 'full' });
  expect(free).toEqual(alone);
  // Of a frozen base only the adapters train.
  const adapted = await beside({ name: 'lora', options: { rank: 2 } });
  expect(adapted.trainableParameters).toBeLessThan(alone.trainableParameters);
  expect(adapted.shares.map(({ trainableParameters }) => trainableParameters)).toEqual(
    adapted.shares.map(() => adapted.trainableParameters),
  );
  await expect(beside({ name: 'lora' }, { name: 'dora' })).rejects.toThrow('lora and dora both decide');
  await expect(
    previewExperts(parseRunSpec(document({}, undefined, { name: 'compose', options: { methods: [{ name: 'lora' }, { name: 'full' }] } })), cacheDir), // prettier-ignore
  ).rejects.toThrow('lora + full with these options does not choose experts');
});

test('another process gives the same preview, and its errors are those of this one', async () => {
  const program = ownWorkerProgram();
  const cacheDir = path.join(work, 'cache');
  const preview = await previewBeside(program, parseRunSpec(document({ score: 'gate' })), cacheDir);
  expect(preview.scores).toHaveLength(4);
  // Gate scores are means over tokens: two choices of a token add up to less than 1.
  for (const layer of preview.scores) expect(layer.reduce((sum, score) => sum + score, 0)).toBeLessThan(1);
  await expect(
    previewBeside(program, parseRunSpec(document({}, path.join(work, 'none.jsonl'))), cacheDir),
  ).rejects.toThrow('none.jsonl');
  const fixed = parseRunSpec(document({ expertConfig: 'expert_cfg.json' }));
  await expect(previewBeside(program, fixed, cacheDir)).rejects.toMatchObject({ code: 'plan/no-experts' });
});

test('a run is asked a suite with progress; the score is kept beside it, the same as from the command line', async () => {
  const runFile = path.join(work, 'ask.json');
  writeFileSync(runFile, JSON.stringify(document({}, undefined, { name: 'full' })));
  const runDir = path.join(work, 'asked');
  expect((await condenser('train', runFile, '--out', runDir, '--home', work)).status).toBe(0);
  const program = ownWorkerProgram();
  const suite = path.join(work, 'suite.jsonl');
  const lines = readFileSync(path.join(sample, 'data/word-problems.jsonl'), 'utf8').split('\n').slice(0, 6);
  writeFileSync(suite, lines.join('\n'));
  const options = AskOptions.parse({ maxNewTokens: 2, batch: 2, samples: 5 });
  const seen: AskProgress[] = [];
  const { signal } = new AbortController();
  await scoreBeside(program, { runDir, suite, options }, (progress) => seen.push(progress), signal);
  expect(seen.map(({ asked, of }) => [asked, of])).toEqual([
    [0, 5],
    [2, 5],
    [4, 5],
  ]);
  const [score] = readScores(runDir);
  expect(score).toMatchObject({ suite: 'suite.jsonl', n: 5, maxNewTokens: 2, step: 1 });
  const few = ['--max-new-tokens', '2', '--batch', '2', '--samples', '5', '--home', work];
  await condenser('evaluate', runDir, '--suite', suite, ...few);
  expect(readScores(runDir).map((kept) => ({ ...kept, createdMs: 0 }))).toEqual([{ ...score, createdMs: 0 }]);

  // One that is stopped keeps what was answered, and not in place of a score over more questions.
  const all = AskOptions.parse({ maxNewTokens: 2, batch: 2 });
  const halfway = async () => {
    const abort = new AbortController();
    const stopWhenAsked = ({ asked }: AskProgress) => asked === 4 && abort.abort();
    const half = scoreBeside(program, { runDir, suite, options: all }, stopWhenAsked, abort.signal);
    await expect(half).rejects.toMatchObject({ code: 'suite/failed' });
  };
  await halfway();
  expect(readScores(runDir)).toMatchObject([{ n: 5 }]);
  expect(readScores(runDir)[0]).not.toHaveProperty('of');
  rmSync(path.join(runDir, 'scores.json'));
  await halfway();
  expect(readScores(runDir)).toMatchObject([{ suite: 'suite.jsonl', n: 4, of: 6 }]);
  await scoreBeside(program, { runDir, suite, options: all }, () => undefined, signal);
  expect(readScores(runDir)).toMatchObject([{ suite: 'suite.jsonl', n: 6 }]);
  expect(readScores(runDir)[0]).not.toHaveProperty('of');

  // Columns of any name, where it is said what they hold.
  const odd = path.join(work, 'odd.csv');
  writeFileSync(odd, 'task,solution\n2 + 2?,4\n');
  const oddly = (mapping?: Record<string, string>) =>
    scoreBeside(
      program,
      { runDir, suite: odd, options, ...(mapping && { mapping }) },
      () => undefined,
      signal,
    );
  await expect(oddly()).rejects.toThrow('odd.csv');
  await oddly({ prompt: 'task', response: 'solution' });
  expect(readScores(runDir).at(-1)).toMatchObject({ suite: 'odd.csv', n: 1 });

  // What is wrong with a file is told with its row, before the model is read.
  writeFileSync(suite, `${lines[0]}\n{"prompt": "and no answer"}\n`);
  const ask = (abort = signal) => scoreBeside(program, { runDir, suite, options }, () => undefined, abort);
  await expect(ask()).rejects.toThrow(/suite\.jsonl: row 2/);
  const ended = new AbortController();
  const stopped = ask(ended.signal);
  ended.abort();
  await expect(stopped).rejects.toMatchObject({ code: 'suite/failed' });
});

test('a run is exported with progress, as from the command line; what fails or is stopped leaves nothing', async () => {
  const runFile = path.join(work, 'export.json');
  writeFileSync(runFile, JSON.stringify(document({}, undefined, { name: 'full' })));
  const runDir = path.join(work, 'exported');
  expect((await condenser('train', runFile, '--out', runDir, '--home', work)).status).toBe(0);
  expect(await refusedFormats(runDir)).toMatchObject([
    { format: 'adapter', error: { message: 'the run trained weights with full, not low-rank adapters' } },
  ]);
  const program = ownWorkerProgram();
  const parent = path.join(work, 'exports');
  mkdirSync(path.join(parent, 'taken/inside'), { recursive: true });
  const { signal } = new AbortController();
  const write = (
    fields: Partial<ExportRequest>,
    onProgress: (progress: ExportProgress) => void = () => undefined,
    abort = signal,
  ) => {
    const out = path.join(parent, 'window');
    const request: ExportRequest = { runDir, format: 'onnx', dtype: 'F32', out, ...fields };
    return exportBeside(program, request, onProgress, abort);
  };
  const seen: ExportProgress[] = [];
  const { out, ...written } = await write({}, (progress) => seen.push(progress));
  expect(seen.length).toBeGreaterThan(1);
  expect(seen.map(({ written: bytes }) => bytes)).toEqual(seen.map(({ written: bytes }) => bytes).toSorted((a, b) => a - b)); // prettier-ignore
  expect(seen.at(-1)?.written).toBe(written.files.reduce((sum, { bytes }) => sum + bytes, 0));
  expect(written.logits?.largestDifference).toBeLessThan(1e-3);
  const own = path.join(parent, 'command');
  const said = await condenser('export', runDir, '--format', 'onnx', '--out', own, '--json');
  const { logits, ...rest } = written;
  expect(said.json()[0]).toEqual({ ...rest, ...logits, out: own });
  expect(readdirSync(out).sort()).toEqual(readdirSync(own).sort());

  await expect(write({ out: path.join(parent, 'taken') })).rejects.toMatchObject({ code: 'export/exists' });
  await expect(write({ format: 'adapter', out: path.join(parent, 'none') })).rejects.toMatchObject({
    code: 'export/no-adapters',
  });
  const ended = new AbortController();
  const stopped = path.join(parent, 'stopped');
  let wasThere = false;
  const half = write(
    { out: stopped },
    () => {
      wasThere ||= existsSync(`${stopped}.partial`);
      ended.abort();
    },
    ended.signal,
  );
  await expect(half).rejects.toMatchObject({ code: 'export/failed' });
  expect(wasThere).toBe(true);
  expect(readdirSync(parent).sort()).toEqual(['command', 'taken', 'window']);
});

test('a process that ends without an answer is an error with its last words', async () => {
  const entry = path.join(work, 'main.mjs');
  writeFileSync(path.join(work, 'preview.process.mjs'), 'console.error("killed"); process.exit(1);');
  await expect(
    previewBeside({ node: process.execPath, entry }, parseRunSpec(document({})), work),
  ).rejects.toThrow('ended without an answer: killed');
});
