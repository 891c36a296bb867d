import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen, waitFor, within } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import type { HostHandlers } from '#core/contract/host-api.ts';
import type { RunDetail } from '#core/contract/run.ts';
import type { ScoreState, SuiteScore } from '#core/contract/suite-score.ts';
import { Client } from '../../api/client.ts';
import { dataset, run } from '../../api/fake-entries.ts';
import { FakeHost } from '../../api/fake-host.ts';
import { ClientContext, createQueryClient } from '../../api/use-host.ts';
import { DropZone } from '../drop/index.ts';
import { ScoresCard } from './scores-card.tsx';

afterEach(cleanup);

const ended: Partial<RunDetail> = {
  state: 'completed',
  checkpoints: [{ step: 10, path: '/runs/a/step-10', bytes: 10, wallMs: 0 }],
};
const score = (fields: Partial<SuiteScore> = {}): SuiteScore => ({
  suite: 'gsm8k.jsonl',
  sha256: ['a'],
  n: 1319,
  seed: 0,
  kind: 'number',
  correct: 818,
  accuracy: { share: 0.6202, low: 0.5937, high: 0.646 },
  unanswered: 12,
  published: { correct: 760, accuracy: { share: 0.5762, low: 0.549, high: 0.603 } },
  cut: 31,
  extractorVersion: 1,
  template: 'auto',
  maxNewTokens: 256,
  step: 10,
  createdMs: 0,
  ...fields,
});

/** The card over what the host says, and the host. */
function show(
  state: ScoreState,
  { detail = ended, handlers = {} }: { detail?: Partial<RunDetail>; handlers?: Partial<HostHandlers> } = {},
) {
  const host = new FakeHost({ 'scores.get': () => state, 'datasets.list': () => [], ...handlers });
  render(
    <ClientContext value={new Client(host)}>
      <QueryClientProvider client={createQueryClient()}>
        <DropZone>
          <ScoresCard detail={run(detail)} />
        </DropZone>
      </QueryClientProvider>
    </ClientContext>,
  );
  return host;
}
const openForm = async () => fireEvent.click(await screen.findByRole('button', { name: 'Ask a suite…' }));
const started = (host: FakeHost) => host.calls.filter(({ name }) => name === 'scores.start');

test('scores have n, both rules with their intervals and the extractor; the newest suite comes first', async () => {
  const long = `${'a suite with a name as long as people write them '.repeat(4)}.jsonl`;
  show({ scores: [score(), score({ suite: long, sha256: ['b'], n: 20, of: 60 })] });
  const table = within(await screen.findByRole('region', { name: 'Scores on suites' }));
  const [, first, second] = table.getAllByRole('row');
  expect(first?.textContent).toContain(`${long}20 of 60`);
  expect(table.getByTitle(long).className).toContain('ellipsis');
  expect(second?.textContent).toBe(
    'gsm8k.jsonl1,31981862.0 % (59.4 to 64.6 %)57.6 % (54.9 to 60.3 %)number1231256101',
  );
});

test('nothing asked yet, and a run without a checkpoint, are said in words', async () => {
  show({ scores: [] });
  expect(await screen.findByText(/^No suite was asked yet/)).toBeTruthy();
  cleanup();
  show({ scores: [] }, { detail: { state: 'failed' } });
  expect(await screen.findByText(/kept no checkpoint/)).toBeTruthy();
  expect(screen.queryByRole('button', { name: 'Ask a suite…' })).toBeNull();
});

test('the rows held out are asked with the options given, and a wrong option is told before', async () => {
  const host = show({ scores: [] }, { handlers: { 'scores.start': () => null } });
  await openForm();
  const longest = screen.getByLabelText<HTMLInputElement>(/^Longest answer/);
  fireEvent.change(longest, { target: { value: 'long' } });
  fireEvent.click(screen.getByRole('button', { name: 'Ask' }));
  expect(screen.getAllByText('Longest answer: expected a whole number above 0').length).toBeGreaterThan(0);
  expect(started(host)).toEqual([]);
  fireEvent.change(longest, { target: { value: '32' } });
  fireEvent.change(screen.getByLabelText(/^Questions at most/), { target: { value: '50' } });
  fireEvent.click(screen.getByRole('button', { name: 'Ask' }));
  await waitFor(() =>
    expect(started(host)).toMatchObject([
      { input: { id: 'run_a', suite: { heldOut: true }, options: { maxNewTokens: 32, samples: 50 } } },
    ]),
  );
  await waitFor(() => expect(screen.queryByRole('group', { name: 'Ask a suite' })).toBeNull());
});

test('a dropped file is the suite while the form waits for one, and can be changed', async () => {
  const refused = () => {
    throw new UserError('run/busy', '“other” is being asked gsm8k.jsonl', 'Wait.');
  };
  const host = show({ scores: [score()] }, { handlers: { 'scores.start': refused } });
  await openForm();
  fireEvent.click(screen.getByRole('button', { name: 'a file' }));
  expect(screen.getByText('Needs a file.')).toBeTruthy();
  const transfer = (name: string) => ({
    dataTransfer: { types: ['Files'], files: { item: () => new File(['{}'], name) } },
  });
  fireEvent.dragEnter(screen.getByRole('group', { name: 'Ask a suite' }), transfer('first.jsonl'));
  expect(screen.getByText('Drop to ask its questions')).toBeTruthy();
  fireEvent.drop(screen.getByRole('group', { name: 'Ask a suite' }), transfer('first.jsonl'));
  expect(await screen.findByText('first.jsonl')).toBeTruthy();
  // Another takes its place.
  fireEvent.drop(screen.getByRole('group', { name: 'Ask a suite' }), transfer('questions.jsonl'));
  expect(await screen.findByText('questions.jsonl')).toBeTruthy();
  fireEvent.click(screen.getByRole('button', { name: 'Ask' }));
  expect((await screen.findByRole('alert')).textContent).toContain('“other” is being asked gsm8k.jsonl');
  expect(started(host)).toMatchObject([
    { input: { suite: { handle: expect.stringMatching(/^file_/) as string } } },
  ]);
  expect(host.calls.some(({ name }) => name === 'datasets.import')).toBe(false);
  fireEvent.click(screen.getByRole('button', { name: 'Choose another' }));
  expect(screen.getByText('Needs a file.')).toBeTruthy();
});

test('a data set is asked with its columns as they were mapped, and one without questions is no choice', async () => {
  const lists = [
    dataset({ id: 'data_a', name: 'mapped.csv', path: '/data/mapped.csv' }),
    dataset({ id: 'data_b', name: 'prose.txt', recordFormat: 'text' }),
    dataset({ id: 'data_c', name: 'odd.csv', recordFormat: 'unknown' }),
  ];
  const host = show(
    { scores: [] },
    { handlers: { 'datasets.list': () => lists, 'scores.start': () => null } },
  );
  await openForm();
  const source = screen.getByRole<HTMLButtonElement>('button', { name: 'a data set' });
  await waitFor(() => expect(source.disabled).toBe(false));
  fireEvent.click(source);
  expect(screen.getByText('Needs a data set.')).toBeTruthy();
  fireEvent.click(screen.getByRole('combobox', { name: 'Data set' }));
  expect(await screen.findAllByRole('option')).toHaveLength(1);
  fireEvent.click(screen.getByRole('option', { name: /^mapped\.csv/ }));
  expect(screen.queryByText(/^The run was trained on rows of it/)).toBeNull();
  fireEvent.click(screen.getByRole('button', { name: 'Ask' }));
  await waitFor(() => expect(started(host)).toMatchObject([{ input: { suite: { dataset: 'data_a' } } }]));
});

test('a data set that the run was trained on is said to be one', async () => {
  const trained = run().spec.data.train[0]?.path ?? '';
  show({ scores: [] }, { handlers: { 'datasets.list': () => [dataset({ path: trained })] } });
  await openForm();
  const source = screen.getByRole<HTMLButtonElement>('button', { name: 'a data set' });
  await waitFor(() => expect(source.disabled).toBe(false));
  fireEvent.click(source);
  fireEvent.click(screen.getByRole('combobox', { name: 'Data set' }));
  fireEvent.click(await screen.findByRole('option'));
  expect(screen.getByText(/^The run was trained on rows of it/)).toBeTruthy();
});

test('without rows held out only a file can be asked', async () => {
  const { facts } = run();
  show({ scores: [] }, { detail: { ...ended, ...(facts && { facts: { ...facts, validationRows: 0 } }) } });
  await openForm();
  expect(screen.getByRole<HTMLButtonElement>('button', { name: 'rows held out' }).disabled).toBe(true);
  expect(screen.getByText('Needs a file.')).toBeTruthy();
});

test('while questions are asked they are counted and can be stopped', async () => {
  const active = { suite: 'gsm8k.jsonl', progress: { asked: 40, of: 200, correct: 12 } };
  const host = show({ scores: [score()], active }, { handlers: { 'scores.stop': () => null } });
  expect(await screen.findByText('40 of 200 asked, 12 right')).toBeTruthy();
  expect(screen.getByRole('progressbar', { name: 'Questions asked' }).getAttribute('aria-valuenow')).toBe(
    '40',
  );
  expect(screen.queryByRole('button', { name: 'Ask a suite…' })).toBeNull();
  fireEvent.click(screen.getByRole('button', { name: 'Stop, keep the answers so far' }));
  await waitFor(() => expect(host.calls.map(({ name }) => name)).toContain('scores.stop'));
});

test('before the first question, and after a file that cannot be read', async () => {
  show({ scores: [], active: { suite: 'gsm8k.jsonl' } });
  expect(await screen.findByText('suite and model are being read')).toBeTruthy();
  cleanup();
  const error = { code: 'data/no-answer', message: 'bad.jsonl: row 1,284: no answer', hint: 'Give one.' };
  show({ scores: [], failure: { suite: 'bad.jsonl', error } });
  const alert = await screen.findByRole('alert');
  expect(alert.textContent).toContain('bad.jsonl was not scored');
  expect(alert.textContent).toContain('row 1,284');
  expect(screen.getByRole('button', { name: 'Ask a suite…' })).toBeTruthy();
});
