import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen, waitFor, within } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';
import type { HostHandlers } from '#core/contract/host-api.ts';
import type { ExportState } from '#core/contract/run-export.ts';
import { Client } from '../../api/client.ts';
import { run } from '../../api/fake-entries.ts';
import { FakeHost } from '../../api/fake-host.ts';
import { ClientContext, createQueryClient } from '../../api/use-host.ts';
import { DropZone } from '../drop/index.ts';
import { ExportCard } from './export-card.tsx';

afterEach(cleanup);

const result: ExportState['done'][number] = {
  format: 'onnx',
  dtype: 'F32',
  out: '/exports/gsm8k-full-onnx',
  step: 1200,
  files: [
    { name: 'model.onnx.data', bytes: 13_800_000_000, sha256: 'a' },
    { name: 'config.json', bytes: 700, sha256: 'b' },
  ],
  tensors: 3200,
  logits: { largestDifference: 1.2e-5, largestLogit: 14.2, rowsApart: 0 },
  verified: 'run by ONNX Runtime: logits of up to 14.2 differ by at most 0.000012',
  notes: [],
  createdMs: Date.now() - 180_000,
  isThere: true,
};
const noAdapters = {
  format: 'adapter' as const,
  error: { code: 'export/no-adapters', message: 'the run trained weights with full, not low-rank adapters' },
};

/** The card over what the host says, and the host. */
function show(
  state: Partial<ExportState>,
  handlers: Partial<HostHandlers> = {},
  shell: 'node' | 'electron' = 'node',
) {
  const host = new FakeHost({
    'app.info': () => ({ version: '1', shell, home: '/home', networkRequests: 0 }),
    'exports.get': () => ({ done: [], ...state }),
    'exports.refused': () => [noAdapters],
    'exports.start': () => null,
    'files.register': ({ path }) => ({ handle: 'file_typed', name: path.split('/').at(-1) ?? '' }),
    ...handlers,
  });
  render(
    <ClientContext value={new Client(host)}>
      <QueryClientProvider client={createQueryClient()}>
        <DropZone>
          <ExportCard detail={run({ state: 'completed', name: 'gsm8k: full / 2' })} />
        </DropZone>
      </QueryClientProvider>
    </ClientContext>,
  );
  return host;
}
const openForm = async () => fireEvent.click(await screen.findByRole('button', { name: 'Export…' }));
const radio = (name: RegExp) => screen.findByRole<HTMLInputElement>('radio', { name });
const pressed = (name: string) => screen.getByRole('button', { name }).getAttribute('aria-pressed');
const drop = () =>
  fireEvent.drop(screen.getByRole('group', { name: 'Export the run' }), {
    dataTransfer: { types: ['Files'], files: { item: () => new File([], 'models') } },
  });

test('format, numbers, folder and name are chosen; a format that the run cannot have says why', async () => {
  const host = show({});
  await openForm();
  expect((await radio(/^Adapter/)).disabled).toBe(true);
  expect(
    screen.getByText('Not here: the run trained weights with full, not low-rank adapters.'),
  ).toBeTruthy();
  expect(pressed('as in the checkpoint')).toBe('true');
  fireEvent.click(await radio(/^ONNX/));
  expect(pressed('float32')).toBe('true');
  fireEvent.click(screen.getByRole('button', { name: 'bfloat16' }));
  expect(screen.getByText('Needs a folder to write to.')).toBeTruthy();
  fireEvent.click(screen.getByRole('button', { name: 'Export' }));
  const field = screen.getByRole('textbox', { name: 'Path of a folder' });
  fireEvent.change(field, { target: { value: '/exports' } });
  fireEvent.submit(field);
  expect(await screen.findByText('exports')).toBeTruthy();
  const name = screen.getByLabelText<HTMLInputElement>('Name of the new folder');
  expect(name.value).toBe('gsm8k-full-2-onnx');
  fireEvent.change(name, { target: { value: '../elsewhere' } });
  fireEvent.click(screen.getByRole('button', { name: 'Export' }));
  expect(screen.getByText(/^The new folder needs a name/)).toBeTruthy();
  expect(host.calls.some((call) => call.name === 'exports.start')).toBe(false);
  fireEvent.change(name, { target: { value: 'mine' } });
  fireEvent.click(screen.getByRole('button', { name: 'Export' }));
  await waitFor(() =>
    expect(host.calls.find((call) => call.name === 'exports.start')?.input).toEqual({
      id: 'run_a',
      format: 'onnx',
      dtype: 'BF16',
      folder: 'file_typed',
      name: 'mine',
    }),
  );
  await waitFor(() => expect(screen.queryByRole('group', { name: 'Export the run' })).toBeNull());
});

test('a dropped folder is taken by the desktop; a browser does not know where it lies', async () => {
  show({}, {}, 'electron');
  await openForm();
  await screen.findByRole('button', { name: 'Choose a folder…' });
  drop();
  expect(await screen.findByText('models')).toBeTruthy();
  cleanup();
  const host = show({});
  await openForm();
  drop();
  expect((await screen.findByRole('alert')).textContent).toContain(
    'a browser does not tell where models lies',
  );
  expect(host.calls.some((call) => call.name === 'register')).toBe(false);
});

test('while it is written the bytes are counted, and it can be stopped', async () => {
  const active = { format: 'onnx' as const, out: '/exports/mine' };
  const host = show(
    { active: { ...active, progress: { written: 2e9, of: 8e9 } } },
    { 'exports.stop': () => null },
  );
  expect(await screen.findByText('2.00 GB of 8.00 GB written')).toBeTruthy();
  expect(screen.getByRole('progressbar', { name: 'Bytes written' }).getAttribute('aria-valuenow')).toBe(
    '2000000000',
  );
  expect(screen.queryByRole('button', { name: 'Export…' })).toBeNull();
  fireEvent.click(screen.getByRole('button', { name: 'Stop, keep nothing' }));
  await waitFor(() => expect(host.calls.map((call) => call.name)).toContain('exports.stop'));
  cleanup();
  show({ active: { ...active, progress: { written: 8.1e9, of: 8e9 } } });
  expect(await screen.findByText('8.10 GB written, being read back')).toBeTruthy();
});

test('the result says where it lies, how large it is and how far it is from the run; an error what to do', async () => {
  const notes = ['Other programs ignore x.json and then compute something else.'];
  show({
    done: [
      { ...result, notes },
      { ...result, out: '/exports/earlier', isThere: false },
    ],
  });
  expect(await screen.findByText('/exports/gsm8k-full-onnx')).toBeTruthy();
  const [newest, earlier] = within(screen.getByRole('list', { name: 'Exports' })).getAllByRole('listitem');
  expect(newest?.textContent).toContain('step 1,200 as onnx, F32 · 2 files, 13.8 GB · 3 min ago');
  expect(newest?.textContent).toContain('model.onnx.data (13.8 GB) · config.json (700 B)');
  expect(newest?.textContent).toContain(result.verified);
  expect(newest?.textContent).not.toContain('moved or deleted');
  expect(earlier?.textContent).toContain('/exports/earlier CopyIt is not there any more: moved or deleted.');
  expect(screen.getByText(/^Other programs ignore/)).toBeTruthy();
  cleanup();
  const error = {
    code: 'export/disk-full',
    message: '/exports/mine could not be written: the disk is full.',
  };
  show({ failure: { format: 'hf', out: '/exports/mine', error } });
  const alert = await screen.findByRole('alert');
  expect(alert.textContent).toContain('/exports/mine was not written');
  expect(alert.textContent).toContain('the disk is full');
  expect(screen.getByRole('button', { name: 'Export…' })).toBeTruthy();
});
