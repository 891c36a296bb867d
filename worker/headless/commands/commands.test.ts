import { spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { condenser, makeSite, type Site } from './cli.fixture.ts';

let site: Site;
/** A finished run of the site's RUN.json. */
let run: string;
beforeAll(async () => {
  site = makeSite();
  run = path.join(site.dir, 'run');
  const { status, stderr } = await condenser('train', site.runFile, '--out', run, '--home', site.home);
  if (status !== 0) throw new Error(stderr);
});
afterAll(() => site.remove());

const linesOf = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('train', () => {
  test('streams JSON lines in order, and a run with equal settings has equal losses', async () => {
    const out = path.join(site.dir, 'again');
    const said = await condenser('train', site.runFile, '--out', out, '--home', site.home, '--json');
    expect(said.status).toBe(0);
    const lines = said.json();
    expect(lines.map(({ type, step }) => `${String(type)} ${String(step)}`)).toEqual([
      'started undefined',
      'evaluation 0',
      'step 1',
      'step 2',
      'evaluation 2',
      'checkpoint 2',
      'step 3',
      'step 4',
      'evaluation 4',
      'checkpoint 4',
      'ended 4',
    ]);
    expect(lines[0]).toMatchObject({
      dir: out,
      totalSteps: 4,
      trainableParameters: 224_448,
      totalParameters: 224_448,
    });
    expect(lines.at(-1)).toMatchObject({ state: 'completed', reason: null });
    expect((await condenser('compare', run, out, '--json')).json()[0]).toMatchObject({
      runs: [{ finalLoss: lines[7]?.['loss'] }, { finalLoss: lines[7]?.['loss'] }],
      differences: [],
    });
  });

  test('a folder with a run is not overwritten; once deleted it can be used', async () => {
    const out = path.join(site.dir, 'once');
    const train = () =>
      condenser('train', site.runFile, '--out', out, '--steps', '1', '--home', site.home, '--json');
    expect((await train()).status).toBe(0);
    expect(await train()).toMatchObject({ status: 2 });
    rmSync(out, { recursive: true });
    expect((await train()).json().at(-1)).toMatchObject({ type: 'ended', step: 1 });
  });

  test('Ctrl-C stops with a checkpoint and status 3; the resumed run ends where an unbroken one does', async () => {
    const steps = '12';
    const [broken, whole] = [path.join(site.dir, 'broken'), path.join(site.dir, 'whole')];
    const cli = path.join(import.meta.dirname, '../cli.ts');
    const args = ['train', site.runFile, '--out', broken, '--steps', steps, '--home', site.home, '--json'];
    const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (!stdout.includes('"step"') && text.includes('"step"')) child.kill('SIGINT');
      stdout += text;
    });
    const status = await new Promise((resolve) => {
      child.once('close', resolve);
    });
    expect(status).toBe(3);
    const ended = linesOf(stdout).at(-1);
    expect(ended).toMatchObject({ type: 'ended', state: 'stopped' });
    expect(linesOf(stdout).at(-2)).toMatchObject({ type: 'checkpoint', step: ended?.['step'] });

    const resumed = await condenser('train', broken, '--resume', '--home', site.home, '--json');
    expect(resumed.status).toBe(0);
    const unbroken = await condenser(
      'train',
      site.runFile,
      '--out',
      whole,
      '--steps',
      steps,
      '--home',
      site.home,
      '--json',
    );
    const lossOfLast = (lines: Record<string, unknown>[]) => lines.findLast(({ type }) => type === 'step');
    expect(lossOfLast(resumed.json())?.['step']).toBe(12);
    expect(lossOfLast(resumed.json())?.['loss']).toBe(lossOfLast(unbroken.json())?.['loss']);
  });

  test('a resumed run keeps its length, and an ended one cannot go on', async () => {
    expect((await condenser('train', run, '--resume', '--steps', '9', '--json')).json()[0]).toMatchObject({
      code: 'cli/resume-steps',
    });
    const again = await condenser(
      'train',
      site.runFile,
      '--out',
      run,
      '--resume',
      '--home',
      site.home,
      '--json',
    );
    expect(again.status).toBe(2);
    expect(again.json()[0]).toMatchObject({ code: 'run/wrong-state' });
  });

  test('what the worker finds wrong with the input has status 2', async () => {
    rmSync(path.join(site.dir, 'bad'), { recursive: true, force: true });
    const spec = readFileSync(site.runFile, 'utf8').replace('"expert-condenser"', '"expert-condensor"');
    const file = path.join(site.dir, 'bad.json');
    writeFileSync(file, spec);
    const said = await condenser(
      'train',
      file,
      '--out',
      path.join(site.dir, 'bad'),
      '--home',
      site.home,
      '--json',
    );
    expect(said.status).toBe(2);
    expect(said.json().at(-1)).toMatchObject({
      code: 'method/unknown',
      message: expect.stringContaining('did you mean') as string,
    });
    const text = await condenser(
      'train',
      site.runFile,
      '--out',
      path.join(site.dir, 'text'),
      '--steps',
      '1',
      '--home',
      site.home,
    );
    expect(text.stdout).toContain('completed at step 1 of 1');
  });
});

test('plan estimates, and says what is wrong', async () => {
  const [plan] = (
    await condenser('plan', site.runFile, '--steps', '3', '--home', site.home, '--json')
  ).json();
  expect(plan).toMatchObject({ ok: true, problems: [], steps: 3, trainableParameters: 224_448 });
  expect((await condenser('plan', site.runFile, '--home', site.home)).stdout).toMatch(
    /^memory +\d+ MB to \d+ MB/m,
  );
});

test('methods named together: plan says which two clash, and a run is called by all of them', async () => {
  const document = JSON.parse(readFileSync(site.runFile, 'utf8')) as object;
  const file = (...methods: object[]) => {
    const name = path.join(site.dir, 'together.json');
    writeFileSync(name, JSON.stringify({ ...document, method: { name: 'compose', options: { methods } } }));
    return name;
  };
  const clash = /^method\.options\.methods: lora and dora both decide adapters\. Leave one of them out/;
  const [plan] = (
    await condenser('plan', file({ name: 'lora' }, { name: 'dora' }), '--home', site.home, '--json')
  ).json();
  expect(plan?.['methodProblem']).toMatch(clash);
  expect(plan?.['problems']).toEqual([plan?.['methodProblem']]);
  const good = file({ name: 'lora', options: { rank: 2 } }, { name: 'expert-condenser' });
  expect((await condenser('plan', good, '--home', site.home)).stdout).toMatch(
    /^method +lora \+ expert-condenser$/m,
  );
  const out = path.join(site.dir, 'together');
  await condenser('train', good, '--steps', '1', '--out', out, '--home', site.home);
  expect((await condenser('report', out, '--out', path.join(out, 'report.md'))).status).toBe(0);
  expect(readFileSync(path.join(out, 'report.md'), 'utf8')).toMatch(/Method *\| lora \+ expert-condenser/);
});

test('plan says how far it was off in runs that finished', async () => {
  const home = path.join(site.dir, 'estimates');
  const planned = async () => (await condenser('plan', site.runFile, '--home', home)).stdout;
  expect(await planned()).not.toContain('Past estimates');
  expect((await condenser('train', site.runFile, '--home', home)).status).toBe(0);
  // For the memory; a run of a moment says nothing about time.
  expect((await planned()).match(/Past estimates were off by [+−±][\d,]+ % \(1 run\)/g)).toHaveLength(1);
});

test('inspect describes the model; problems have status 1', async () => {
  const said = await condenser('inspect', site.model, '--json');
  expect(said.status).toBe(0);
  expect(said.json()[0]).toMatchObject({
    family: 'olmoe',
    layers: 3,
    experts: 8,
    tokenizer: { present: true, vocabularySize: 199 },
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    problems: [],
  });
  const bare = path.join(import.meta.dirname, '../../testing/goldens/families/olmoe/model');
  const lacking = await condenser('inspect', bare, '--no-hash');
  expect(lacking.status).toBe(1);
  expect(lacking.stdout).toContain('problem: ');
  expect(lacking.stdout).not.toContain('sha256');
});

describe('data', () => {
  const mapping = ['--mapping', 'prompt=question', '--mapping', 'response=answer'];

  test('without a model: format and rows', async () => {
    const [document] = (await condenser('data', site.data, ...mapping, '--json')).json();
    expect(document).toMatchObject({
      files: [{ fileFormat: 'jsonl', rows: 40, mapping: { prompt: 'question', response: 'answer' } }],
    });
    expect(document).not.toHaveProperty('inspection');
  });

  test('with a model: tokens, and rows as it reads them', async () => {
    const model = ['--model', site.model];
    const said = await condenser('data', site.data, ...mapping, ...model, '--max-length', '4', '--json');
    expect(said.json()[0]).toMatchObject({ inspection: { rows: 40, truncatedRows: 40, longest: 6 } });
    const shown = await condenser('data', site.data, ...mapping, ...model, '--show', '2');
    expect(shown.stdout).toBe(
      'row 2: 6 tokens, 4 trained; [trained] {truncated}\nw3 w61[⏎\nw101][ w5][ w3][<eos>]\n',
    );
    expect((await condenser('data', site.data, '--show', '2')).stderr).toContain('--show needs --model');
    expect(
      (await condenser('data', site.data, ...mapping, ...model, '--show', '99', '--json')).json()[0],
    ).toMatchObject({
      code: 'data/no-such-row',
    });
  });
});

describe('usage', () => {
  test('every step with counts, mass, bias and condensers', async () => {
    const [document] = (await condenser('usage', run, '--json')).json();
    const steps = document?.['steps'] as { step: number; layers: Record<string, number[]>[] }[];
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    const last = steps.at(-1)?.layers.at(-1);
    expect(last).toMatchObject({ layer: 2 });
    for (const name of ['counts', 'mass', 'soft', 'gradNorm', 'bias']) expect(last?.[name]).toHaveLength(8);
    expect(last?.['condensers']).toHaveLength(1);
    // k = 2 choices of every real token.
    expect((last?.['counts'] ?? []).reduce((a, b) => a + b, 0) % 2).toBe(0);
    expect(document?.['updates']).toHaveLength(3);
  });

  test('one step, as a table and as CSV', async () => {
    expect((await condenser('usage', run, '--step', '2')).stdout).toMatch(
      /^step 2: 8 experts a layer, 2 chosen/,
    );
    const csv = (await condenser('usage', run, '--step', '2', '--csv')).stdout.trim().split('\n');
    expect(csv[0]).toBe('step,layer,expert,selections,load,gate_mass,bias,condenser,soft_usage,grad_norm');
    expect(csv).toHaveLength(1 + 3 * 8);
    expect((await condenser('usage', run, '--step', '99', '--json')).json()[0]).toMatchObject({
      code: 'usage/no-record',
    });
  });
});

test('a run is found by its id in the data folder', async () => {
  const [started] = (
    await condenser('train', site.runFile, '--steps', '1', '--home', site.home, '--json')
  ).json();
  const id = String(started?.['runId']);
  const [document] = (await condenser('usage', id, '--home', site.home, '--json')).json();
  expect(document).toMatchObject({ dir: path.join(site.home, 'runs', id) });
});

test.each([
  ['report.html', /^<!doctype html>/i],
  ['report.md', /^# /],
  ['report.json', /^\{/],
])('%s', async (name, start) => {
  const out = path.join(site.dir, 'reports', name);
  const said = await condenser('report', run, '--out', out, '--json');
  expect(said.json()[0]).toMatchObject({ file: out, summary: expect.any(Array) as string[] });
  expect(readFileSync(out, 'utf8')).toMatch(start);
});

describe('generate', () => {
  const prompt = ['--prompt', 'w3 w61', '--max-new-tokens', '5', '--json'];

  test('is greedy and repeatable, and tells where tokens go', async () => {
    const [first] = (await condenser('generate', run, ...prompt, '--routing')).json();
    const [second] = (await condenser('generate', run, ...prompt)).json();
    expect(second?.['ids']).toEqual(first?.['ids']);
    expect(first).toMatchObject({ step: 4, promptIds: [3, 61] });
    const routing = first?.['routing'] as { layers: { experts: number[]; weights: number[] }[] }[];
    const ids = first?.['ids'] as number[];
    expect(routing).toHaveLength(2 + ids.length);
    // Two chosen and one condenser, which may be one of them.
    for (const { layers } of routing) {
      for (const { experts, weights } of layers) {
        expect([2, 3]).toContain(experts.length);
        expect(weights).toEqual(weights.toSorted((a, b) => b - a));
      }
    }
  });

  test('at a temperature tokens are drawn by the seed', async () => {
    const drawn = async (seed: string) =>
      (await condenser('generate', run, ...prompt, '--temperature', '3', '--seed', seed)).json()[0]?.['ids'];
    expect(await drawn('1')).toEqual(await drawn('1'));
    expect(await drawn('2')).not.toEqual(await drawn('1'));
  });

  test('a run is not the model it came from', async () => {
    const [base] = (await condenser('generate', site.model, ...prompt)).json();
    expect(base).not.toHaveProperty('step');
    expect(base?.['tokensPerSecond']).toBeGreaterThan(0);
  });
});

test('parity reports checks, and what is not supported fails', async () => {
  const goldens = path.join(import.meta.dirname, '../../testing/goldens/methods');
  const said = await condenser(
    'parity',
    path.join(goldens, 'condenser-select'),
    path.join(goldens, 'condenser-allocate'),
    '--json',
  );
  expect(said.status).toBe(0);
  const cases = said.json()[0]?.['cases'] as {
    case: string;
    ok: boolean;
    checks: Record<string, unknown>[];
  }[];
  expect(cases.map(({ case: name, ok }) => [name, ok])).toEqual([
    ['methods/condenser-select', true],
    ['methods/condenser-allocate', true],
  ]);
  expect(Object.keys(cases[0]?.checks[0] ?? {}).sort()).toEqual(['limit', 'maxAbs', 'maxRel', 'name', 'ok']);
});
