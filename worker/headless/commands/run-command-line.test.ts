import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test, vi } from 'vitest';
import { hasAdapter } from '#worker/testing/index.ts';
import { condenser } from './cli.fixture.ts';
import { commandTable } from './command-table.ts';

test('help lists every command, and each command its options', async () => {
  const general = await condenser('--help');
  expect(general.status).toBe(0);
  for (const { name, summary, options } of commandTable) {
    expect(general.stdout).toContain(name);
    expect(general.stdout).toContain(summary);
    const own = await condenser(name, '--help');
    expect(own.status).toBe(0);
    for (const option of [...Object.keys(options), 'home', 'json'])
      expect(own.stdout).toContain(`--${option}`);
    expect((await condenser('help', name)).stdout).toBe(own.stdout);
  }
});

test('without a command the help is shown, and that is wrong usage', async () => {
  const said = await condenser();
  expect(said).toMatchObject({ status: 2, stderr: '' });
  expect(said.stdout).toContain('Usage: condenser COMMAND');
});

test('the version', async () => {
  expect((await condenser('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test.each([
  [['trian'], 'cli/unknown-command', 'did you mean train?'],
  [['train', 'run.json', '--stesp', '3'], 'cli/unknown-option', 'did you mean --steps?'],
  [['train'], 'cli/arguments', 'train needs RUN.json'],
  [['train', 'a.json', 'b.json'], 'cli/arguments', 'takes only RUN.json, not "b.json"'],
  [['doctor', 'x'], 'cli/arguments', 'doctor takes no argument, not "x"'],
  [['train', 'run.json', '--steps'], 'cli/missing-value', '--steps has no value'],
  [['train', 'run.json', '--steps', '1.5'], 'cli/bad-value', '--steps is "1.5"'],
  [['train', 'run.json', '--steps', '0'], 'cli/bad-value', '--steps is "0"'],
  [['train', 'run.json', '--resume=yes'], 'cli/bad-value', '--resume is a switch'],
  [
    ['train', 'run.json', '--steps', '1', '--steps', '2'],
    'cli/repeated-option',
    '--steps is given more than once',
  ],
  [['train', 'no-such.json'], 'run-spec/unreadable', 'no-such.json: there is no such file'],
  [['report', 'run'], 'cli/missing-option', '--out is missing'],
  [['report', 'run', '--out', 'report.pdf'], 'cli/bad-value', 'report.pdf'],
  [['usage', 'no-such-run'], 'run/not-found', 'no-such-run'],
  [['usage', 'run_unknown', '--home', '/nowhere'], 'run/not-found', 'run_unknown'],
  [
    ['demo', '--home', `${import.meta.filename}/home`],
    'files/not-a-folder',
    'a part of the path is no folder',
  ],
  [['export', 'run', '--format', 'gguf', '--out', 'x'], 'cli/bad-value', 'gguf'],
  [['generate', 'model', '--prompt', 'x', '--temperature', '-1'], 'cli/bad-value', '--temperature is -1'],
  [['evaluate', 'model', '--suite', 'gsm8k'], 'suite/not-found', '--suite gsm8k'],
  [
    ['bench', '--provider', 'webgpu', '--frozen-experts', 'int8'],
    'bench/frozen-experts',
    '--frozen-experts int8 holds experts of programs on the CPU',
  ],
  [
    ['parity', '.', '--device-weights', 'float16'],
    'cli/device-weights',
    '--device-weights float16 says how weights lie on a graphics adapter',
  ],
  [['parity', '/nowhere'], 'parity/no-case', '/nowhere does not exist'],
  [['inspect', '/nowhere'], 'model/folder-missing', '/nowhere'],
  [['data', 'x.jsonl', '--mapping', 'prompt'], 'cli/bad-value', '--mapping is "prompt"'],
])('%j is wrong usage', async (argv, code, message) => {
  const json = await condenser(...argv, '--json');
  expect(json).toMatchObject({ status: 2, stderr: '' });
  const [error, ...more] = json.json();
  expect(more).toEqual([]);
  expect(error).toMatchObject({ code, hint: expect.any(String) as string });
  expect(error?.['message']).toContain(message);

  const text = await condenser(...argv);
  expect(text).toMatchObject({ status: 2, stdout: '' });
  expect(text.stderr).toContain(message);
});

test.runIf(hasAdapter)(
  'doctor trains a step on an adapter and says where its operators ran',
  async () => {
    const said = await condenser('doctor', '--home', '/nowhere/at/all');
    expect(said.status).toBe(0);
    expect(said.stdout).toMatch(/^webgpu +not used +Only a software adapter/m);
    expect(said.stdout).toMatch(
      /^ {2,}A training step of the sample: \d{3,} operators on the adapter, \d+ on the CPU that compute sizes; left to the CPU: none\.$/m,
    );
  },
  120_000,
);

test('without an adapter doctor tells what is used and why not', async () => {
  vi.stubEnv('VK_ICD_FILENAMES', '/nonexistent.json');
  const said = await condenser('doctor', '--json', '--home', '/nowhere/at/all');
  expect(said.status).toBe(0);
  const [document] = said.json();
  expect(document).toMatchObject({
    home: '/nowhere/at/all',
    cpu: { cores: expect.any(Number) as number },
    versions: { sqlite: expect.stringMatching(/^3\.\d+\.\d+$/) as string },
  });
  expect(document?.['providers']).toMatchObject([
    { name: 'cpu', used: true, reason: 'Trains here.' },
    { name: 'webgpu', used: false, reason: 'No graphics adapter that WebGPU can use was found.' },
    { name: 'cuda', used: false },
  ]);
  expect((await condenser('doctor')).stdout).toMatch(/^cpu +used/m);
  vi.unstubAllEnvs();
});

test('output that nobody reads any more, as after `| head`, ends a command without a trace', async () => {
  const cli = path.join(import.meta.dirname, '../cli.ts');
  const child = spawn(process.execPath, [cli, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  const [errors] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  expect({ errors, code: child.exitCode }).toEqual({ errors: '', code: 0 });
});
