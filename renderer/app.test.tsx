/** Every page with an empty host, a host that fails, and a host that does not answer. */
import { cleanup, fireEvent, render, screen, waitFor, within } from '@testing-library/react';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import type { HostHandlers } from '#core/contract/host-api.ts';
import { packRouting } from '#core/contract/metrics.ts';
import { Client } from './api/client.ts';
import { dataset, device, model, run, stepMetrics } from './api/fake-entries.ts';
import { FakeHost } from './api/fake-host.ts';
import { App } from './app.tsx';

afterEach(cleanup);
beforeEach(() => {
  location.hash = '';
});

const refuse = (): never => {
  throw new UserError('store/unreadable', 'app.db: the file is not a database', 'Restore it from a copy.');
};
const never = () => Promise.race<never>([]);

const calm: Partial<HostHandlers> = {
  'app.info': () => ({ version: '0.1.0', shell: 'node', home: '/home/ada', networkRequests: 0 }),
  'app.device': () => device,
  'app.settings': () => ({
    theme: 'light',
    provider: 'auto',
    threads: 'auto',
    memoryBudgetMB: null,
    deviceMemoryMB: null,
  }),
  'models.list': () => [],
  'datasets.list': () => [],
  'runs.list': () => [],
  'methods.list': () => [],
};
const each = (handler: () => never | Promise<never>): Partial<HostHandlers> => ({
  ...calm,
  'app.settings': handler,
  'models.list': handler,
  'datasets.list': handler,
  'runs.list': handler,
  'runs.get': handler,
});

function open(path: string, handlers: Partial<HostHandlers> = {}) {
  location.hash = `#${path}`;
  const host = new FakeHost({ ...calm, ...handlers });
  render(<App client={new Client(host)} />);
  return host;
}

test.each([
  ['/', 'No run yet. The sample makes the first two.'],
  ['/models', 'No model yet.'],
  ['/data', 'No data yet.'],
  ['/data/data_gone', 'This data set is not in the list any more.'],
  ['/runs', 'No run yet.'],
  ['/new', 'The host offers no training method.'],
  ['/compare', 'Nothing to compare yet.'],
  ['/report', 'No run to report on yet.'],
  ['/nowhere', 'There is no page at this address.'],
])('%s is designed for the empty state', async (path, words) => {
  open(path);
  expect(await screen.findByText(words, { exact: false })).toBeTruthy();
});

test.each(['/', '/models', '/data', '/runs', '/runs/run_a', '/new', '/compare', '/report', '/settings'])(
  '%s says what failed, why and what to do',
  async (path) => {
    open(path, each(refuse));
    const [alert] = await screen.findAllByRole('alert');
    expect(alert?.textContent).toContain('app.db: the file is not a database');
    expect(alert?.textContent).toContain('Restore it from a copy.');
    expect(screen.getAllByText('Copy details').length).toBeGreaterThan(0);
  },
);

test.each(['/', '/models', '/data', '/runs', '/runs/run_a', '/new', '/compare', '/report', '/settings'])(
  '%s shows a skeleton while it waits',
  async (path) => {
    open(path, each(never));
    await waitFor(() =>
      expect(screen.getAllByRole('status', { name: /^Loading/ }).length).toBeGreaterThan(0),
    );
  },
);

const steps = [1, 2, 3].map((step) => stepMetrics(step));
const live: Partial<HostHandlers> = {
  'runs.get': () => run(),
  'runs.series': ({ afterStep }) => ({
    steps: steps.filter(({ step }) => step > afterStep),
    evaluations: [],
    events:
      afterStep < 0
        ? [{ id: 1, step: 2, wallMs: 0, kind: 'checkpoint', message: 'Checkpoint at step 2.' }]
        : [],
  }),
  'runs.routing': () => ({
    records: [
      packRouting({ step: 3, counts_LE: Uint32Array.from({ length: 32 }, (_, i) => (i === 9 ? 0 : i + 1)) }),
    ],
  }),
  'runs.findings': () => [
    {
      rule: 'dead-experts',
      severity: 'warning',
      text: 'Layer 1: 1 expert got no token',
      action: 'Look at its bias.',
    },
  ],
};

test('a live run shows its numbers, its layers, sentences and events; what is absent is not measured', async () => {
  open('/runs/run_a', live);
  expect(await screen.findByRole('heading', { name: 'gsm8k, full' })).toBeTruthy();
  expect((await screen.findByRole('button', { name: /^Loss/ })).textContent).toContain('2.700');
  expect(await screen.findByRole('region', { name: 'Expert use of each layer' })).toBeTruthy();
  expect(await screen.findByText('Layer 1: 1 expert got no token')).toBeTruthy();
  expect(screen.getByText('Checkpoint at step 2.')).toBeTruthy();
  const quantity = within(screen.getByRole('group', { name: 'Quantity' }));
  expect(quantity.getByRole('button', { name: 'bias' }).hasAttribute('disabled')).toBe(true);
  expect(screen.getByRole('region', { name: 'Numbers of each step' }).textContent).toContain('2.700');
});

test('a run that ends has the findings and the report of its end, whatever was shown before', async () => {
  let [ended, other] = [false, 0];
  const host = open('/runs/run_a', {
    ...live,
    'runs.get': () => run({ state: ended ? 'completed' : 'running' }),
    'runs.list': () => [run()],
    'runs.findings': () => [
      {
        rule: 'concentration',
        severity: 'warning',
        text: `${ended ? 20 : 27} % of the selections`,
        action: '',
      },
    ],
    'reports.build': ({ ids }) => {
      if (!ids.includes('run_a')) other += 1;
      return { fileName: `${ended ? 'whole' : 'half'}.html`, text: '' };
    },
  });
  const go = (address: string) => {
    location.hash = `#${address}`;
    fireEvent(window, new HashChangeEvent('hashchange'));
  };
  expect(await screen.findByText('27 % of the selections')).toBeTruthy();
  go('/report/run_b');
  await screen.findByText(/half\.html/);
  go('/report/run_a');
  await screen.findByText(/half\.html/);
  go('/runs/run_a');
  await screen.findByText('27 % of the selections');

  ended = true;
  host.push('runs.changed', { id: 'run_a' });
  expect(await screen.findByText('20 % of the selections')).toBeTruthy();
  expect(screen.queryByText('27 % of the selections')).toBeNull();
  go('/report/run_a');
  expect(await screen.findByText(/whole\.html/)).toBeTruthy();
  // What is made of other runs only stands.
  go('/report/run_b');
  expect(await screen.findByText(/half\.html/)).toBeTruthy();
  expect(other).toBe(1);
});

test('the scrubber takes all numbers back to the step shown', async () => {
  open('/runs/run_a', live);
  const scrubber = await screen.findByRole('slider', { name: 'Step shown' });
  fireEvent.change(scrubber, { target: { value: '1' } });
  await waitFor(() => expect(screen.getByRole('button', { name: /^Loss/ }).textContent).toContain('2.900'));
  fireEvent.click(screen.getByRole('button', { name: 'Back to live' }));
  expect(screen.getByRole('button', { name: /^Loss/ }).textContent).toContain('2.700');
});

test('pause, checkpoint and stop call the host', async () => {
  const host = open('/runs/run_a', { ...live, 'runs.pause': () => null, 'runs.stop': () => null });
  fireEvent.click(await screen.findByRole('button', { name: 'Pause' }));
  fireEvent.click(screen.getByRole('button', { name: 'Stop…' }));
  fireEvent.click(await screen.findByRole('button', { name: 'Stop and discard' }));
  await waitFor(() => {
    expect(host.calls).toContainEqual({ name: 'runs.pause', input: { id: 'run_a' } });
    expect(host.calls).toContainEqual({ name: 'runs.stop', input: { id: 'run_a', keep: false } });
  });
});

test('an interrupted run says why, what was saved, and resumes', async () => {
  const host = open('/runs/run_a', {
    ...live,
    'runs.get': () =>
      run({ state: 'interrupted', exit: 'oom', checkpoints: [{ step: 2, path: '', bytes: 1, wallMs: 0 }] }),
    'runs.resume': () => null,
  });
  const alert = await screen.findByRole('alert');
  expect(alert.textContent).toContain('ran out of memory');
  expect(alert.textContent).toContain('Resuming goes on from the checkpoint at step 2.');
  fireEvent.click(screen.getAllByRole('button', { name: 'Resume' })[0] ?? alert);
  await waitFor(() => expect(host.calls).toContainEqual({ name: 'runs.resume', input: { id: 'run_a' } }));
});

test('a run without steps says what it waits for', async () => {
  open('/runs/run_a', {
    ...live,
    'runs.get': () => run({ state: 'queued' }),
    'runs.series': () => ({ steps: [], evaluations: [], events: [] }),
  });
  expect(await screen.findByText(/Waiting for the run before it/)).toBeTruthy();
});

test('a worker that is silent for 12 s is noticed', async () => {
  open('/runs/run_a', { ...live, 'runs.get': () => run({ heartbeatAgeMs: 15_000 }) });
  expect(await screen.findByText(/No sign from the training process for 15 s/)).toBeTruthy();
});

test('a lost connection shows for how long', async () => {
  const host = open('/');
  await screen.findByText(/No run yet/);
  host.setConnection({ state: 'closed', sinceMs: Date.now() - 12_000 });
  expect(await screen.findByText(/No connection to the host for 12 s/)).toBeTruthy();
  host.setConnection({ state: 'open', sinceMs: Date.now() });
  await waitFor(() => expect(screen.queryByText(/No connection to the host/)).toBeNull());
});

test('New run names what is missing, then starts with the defaults of the schema', async () => {
  const host = open('/new', {
    'models.list': () => [model()],
    'datasets.list': () => [dataset()],
    'methods.list': () => [
      {
        name: 'full',
        title: 'Full fine-tuning',
        trains: 'Every weight.',
        cost: '1 ×',
        source: 'the literature',
        optionsSchema: {
          type: 'object',
          properties: {
            aux: { type: 'number', minimum: 0, default: 0, title: 'Load-balancing loss', unit: '× loss' },
          },
        },
      },
    ],
    'runs.plan': () => ({
      ok: true,
      problems: [],
      steps: 7,
      trainableParameters: 10,
      totalParameters: 10,
      memoryMB: {
        low: 100,
        high: 200,
        parts: { weights: 100 },
        availableMB: 1000,
        recomputedLayers: 0,
        streamedLayers: 0,
      },
      diskMB: { perCheckpoint: 1, total: 3, freeMB: 1000 },
      pastErrors: { memory: { runs: 5, median: 0.12, lowest: -0.03, highest: 0.4 } },
    }),
    'runs.start': () => ({ id: 'run_a' }),
    ...live,
  });
  expect(await screen.findByText('Start needs training data and a method')).toBeTruthy();
  // The only model is chosen already.
  expect(screen.getByRole<HTMLInputElement>('radio', { name: /tiny-moe/ }).checked).toBe(true);
  fireEvent.click(screen.getByRole('checkbox', { name: /gsm8k/ }));
  fireEvent.click(screen.getByRole('radio', { name: /Full fine-tuning/ }));
  const aux = screen.getByLabelText('Load-balancing loss');
  fireEvent.change(aux, { target: { value: '-1' } });
  expect(screen.getAllByText('Load-balancing loss: expected a number at least 0').length).toBeGreaterThan(0);
  fireEvent.change(aux, { target: { value: '0.01' } });
  expect(screen.getByRole('button', { name: 'Reset Load-balancing loss to its default' })).toBeTruthy();
  expect(await screen.findByText('100–200 MB')).toBeTruthy();
  expect(screen.getByText('not estimated')).toBeTruthy();
  expect(screen.getByText('Past estimates were off by +12 % (median of 5 runs; −3 % to +40 %)')).toBeTruthy();
  expect(screen.getByText('No finished run to check estimates against')).toBeTruthy();
  fireEvent.submit(screen.getByLabelText('Name').closest('form') ?? aux);
  await waitFor(() => {
    const started = host.calls.find((call) => call.name === 'runs.start');
    expect(started?.input).toMatchObject({
      model: { id: 'model_tiny' },
      data: { train: ['data_gsm8k'], maxLength: 512 },
      method: { name: 'full', options: { aux: 0.01 } },
    });
  });
  await waitFor(() => expect(location.hash).toBe('#/runs/run_a'));
});

test('keys lead everywhere: G and a letter, N, / and ?', async () => {
  open('/');
  await screen.findByText(/No run yet/);
  fireEvent.keyDown(document.body, { key: 'g' });
  fireEvent.keyDown(document.body, { key: 'm' });
  expect(location.hash).toBe('#/models');
  fireEvent.keyDown(document.body, { key: 'n' });
  expect(location.hash).toBe('#/new');
  fireEvent.keyDown(document.body, { key: '?' });
  expect(await screen.findByRole('dialog', { name: 'Keyboard' })).toBeTruthy();
  fireEvent.click(screen.getByRole('button', { name: 'Close' }));
  fireEvent.keyDown(document.body, { key: '/' });
  const search = await screen.findByRole('combobox');
  fireEvent.change(search, { target: { value: 'settings' } });
  fireEvent.keyDown(search, { key: 'Enter' });
  await waitFor(() => expect(location.hash).toBe('#/settings'));
});

test('keys typed into a field are text', async () => {
  open('/runs', { 'runs.list': () => [run()] });
  const filter = await screen.findByRole('searchbox', { name: 'Filter runs' });
  fireEvent.keyDown(filter, { key: 'n' });
  expect(location.hash).toBe('#/runs');
  fireEvent.change(filter, { target: { value: 'nothing like it' } });
  expect(await screen.findByText(/No run matches/)).toBeTruthy();
});

test('several files dropped at once are refused in words, and none is taken without a word about the others', async () => {
  const host = open('/');
  await screen.findByText(/No run yet/);
  const files = ['train.jsonl', 'held.jsonl'].map((name) => new File(['{}'], name));
  const dataTransfer = { types: ['Files'], files: Object.assign(files, { item: (i: number) => files[i] }) };
  fireEvent.drop(screen.getByRole('main'), { dataTransfer });
  const dialog = await screen.findByRole('dialog', { name: 'The file was not imported' });
  expect(within(dialog).getByText('2 files were dropped at once, and none was taken')).toBeTruthy();
  fireEvent.click(within(dialog).getByRole('button', { name: 'Close' }));
  await waitFor(() => expect(screen.queryByRole('dialog')).toBeNull());
  expect(host.calls.some(({ name }) => name === 'register')).toBe(false);
});

test('a page begins at its top; choosing runs on it does not move it', async () => {
  open('/runs');
  const scrolled = async (hash: string, title: string) => {
    window.scrollTo(0, 500);
    location.hash = hash;
    await screen.findByRole('heading', { level: 1, name: title });
    return window.scrollY;
  };
  await screen.findByRole('heading', { level: 1, name: 'Runs' });
  expect(await scrolled('#/data', 'Data')).toBe(0);
  expect(await scrolled('#/compare/run_a', 'Compare')).toBe(0);
  expect(await scrolled('#/compare/run_a,run_b', 'Compare')).toBe(500);
});

test('of a model with a problem in every tensor the first are shown, the others when asked for', async () => {
  const problems = Array.from(
    { length: 12 },
    (_, i) => `tensor ${i} is 64 × 128; config.json implies 64 × 64`,
  );
  open('/models', { 'models.list': () => [model({ problems })] });
  expect(await screen.findByText('✕ 12 problems')).toBeTruthy();
  expect(screen.getAllByText(/config.json implies/)).toHaveLength(5);
  fireEvent.click(screen.getByRole('button', { name: '7 more problems' }));
  expect(screen.getAllByText(/config.json implies/)).toHaveLength(12);
});
