/** Suites that ended runs are asked, with a scripted process in place of a model. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import type { SuiteScore } from '#core/contract/suite-score.ts';
import { writeScores } from '#core/store/index.ts';
import { endedRun, makeHome, openTestHost, type TestHost, until } from './host.fixture.ts';
import type { HostPorts } from './ports.ts';

type Ask = HostPorts['askSuite'];

/** What the host asked for, and how it ends. */
interface Asked {
  readonly request: Parameters<Ask>[0];
  readonly progress: Parameters<Ask>[1];
  readonly done: () => void;
  readonly fail: (error: unknown) => void;
}

let folder: ReturnType<typeof makeHome>;
let t: TestHost;
let asked: Asked[];

beforeEach(() => {
  folder = makeHome();
  asked = [];
  t = openTestHost(folder.root, {
    askSuite: (request, progress, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(new UserError('suite/failed', 'it was stopped')));
        asked.push({ request, progress, done: resolve, fail: reject });
      }),
  });
});
afterEach(async () => {
  await t.host.close();
  folder.remove();
});

const score: SuiteScore = {
  suite: 'train.jsonl',
  sha256: ['a'],
  n: 4,
  seed: 0,
  kind: 'text',
  correct: 2,
  accuracy: { share: 0.5, low: 0.15, high: 0.85 },
  unanswered: 0,
  published: { correct: 1, accuracy: { share: 0.25, low: 0.05, high: 0.7 } },
  cut: 0,
  extractorVersion: 1,
  template: 'auto',
  maxNewTokens: 16,
  step: 3,
  createdMs: 0,
};

test('a file and the rows held out are asked with progress, and the scores are those beside the run', async () => {
  const id = await endedRun(t);
  const { handle } = await t.call('files.register', { path: `${folder.root}/sample/data/train.jsonl` });
  await t.call('scores.start', { id, suite: { handle }, options: { maxNewTokens: 16 } });
  expect(asked[0]?.request).toMatchObject({
    runDir: t.host.runDir(id),
    suite: expect.stringMatching(/data.train\.jsonl$/) as string,
    options: { maxNewTokens: 16, samples: null, batch: 8 },
  });
  expect(await t.call('scores.get', { id })).toEqual({ scores: [], active: { suite: 'train.jsonl' } });
  const told = () => t.pushes.filter(({ channel }) => channel === 'scores.changed').length;
  const before = told();
  asked[0]?.progress({ asked: 2, of: 4, correct: 1 });
  await until('a notice', () => told() > before);
  expect((await t.call('scores.get', { id })).active?.progress).toEqual({ asked: 2, of: 4, correct: 1 });
  writeScores(t.host.runDir(id), [score]);
  asked[0]?.done();
  await until('the score', async () => (await t.call('scores.get', { id })).active === undefined);
  expect(await t.call('scores.get', { id })).toEqual({ scores: [score] });

  await t.call('scores.start', { id, suite: { heldOut: true } });
  expect(asked[1]?.request).toMatchObject({ suite: 'validation' });
  expect(asked[1]?.request).not.toHaveProperty('mapping');
});

test('a data set is asked with its columns as they were mapped', async () => {
  const id = await endedRun(t);
  const { handle } = await t.call('files.register', { path: `${folder.root}/sample/data/train.jsonl` });
  const set = await t.call('datasets.import', { handle });
  const mapping = { prompt: 'q', response: 'a' };
  await t.call('datasets.map', { id: set.id, mapping });
  await t.call('scores.start', { id, suite: { dataset: set.id } });
  expect(asked[0]?.request).toMatchObject({ suite: set.path, mapping });
  expect((await t.call('scores.get', { id })).active).toEqual({ suite: 'train.jsonl' });
  await t.call('scores.stop', { id });
  await t.call('datasets.remove', { id: set.id });
  await expect(t.call('scores.start', { id, suite: { dataset: set.id } })).rejects.toMatchObject({
    code: 'dataset/unknown',
  });
});

test('one run is asked at a time, and none that has not ended', async () => {
  const [first, second] = [await endedRun(t), await endedRun(t)];
  await t.call('scores.start', { id: first, suite: { heldOut: true } });
  const busy = t.call('scores.start', { id: second, suite: { heldOut: true } });
  await expect(busy).rejects.toMatchObject({
    code: 'run/busy',
    message: expect.stringContaining('“a run”') as string,
  });
  await t.call('scores.stop', { id: first });
  const { id } = await t.call('runs.start', await t.draft());
  await expect(t.call('scores.start', { id, suite: { heldOut: true } })).rejects.toMatchObject({
    code: 'run/wrong-state',
  });
});

test('what is stopped is no failure; what fails says why until the run is asked again', async () => {
  const id = await endedRun(t);
  const ask = () => t.call('scores.start', { id, suite: { heldOut: true } });
  await ask();
  await t.call('scores.stop', { id });
  expect(await t.call('scores.get', { id })).toEqual({ scores: [] });
  await ask();
  asked[1]?.fail(new UserError('data/no-answer', 'suite.jsonl: row 7: no answer', 'Give one.'));
  await until('the failure', async () => (await t.call('scores.get', { id })).failure !== undefined);
  expect((await t.call('scores.get', { id })).failure).toEqual({
    suite: 'validation',
    error: { code: 'data/no-answer', message: 'suite.jsonl: row 7: no answer', hint: 'Give one.' },
  });
  expect(t.bugs).toEqual([]);
  await ask();
  expect((await t.call('scores.get', { id })).failure).toBeUndefined();
  asked[2]?.fail(new RangeError('a bug'));
  await until('the bug', () => t.bugs.length === 1);
});

test('a run that is removed, and a host that closes, end what is asked', async () => {
  const id = await endedRun(t);
  await t.call('scores.start', { id, suite: { heldOut: true } });
  await t.call('runs.remove', { id });
  const other = await endedRun(t);
  await t.call('scores.start', { id: other, suite: { heldOut: true } });
  await t.host.close();
  expect(t.bugs).toEqual([]);
  t = openTestHost(folder.root);
});
