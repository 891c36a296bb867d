import { expect, test } from 'vitest';
import { classifyExit, type ExitEvidence } from './classify-exit.ts';

const nothing: ExitEvidence = {
  process: { code: null, signal: null },
  said: null,
  killedByHost: null,
  oomKillSeen: false,
  errorTail: '',
};

test.each<[string, Partial<ExitEvidence>, object]>([
  ['completed', { process: { code: 0, signal: null }, said: { exit: 'completed' } }, { exit: 'completed' }],
  ['stopped', { process: { code: 3, signal: null }, said: { exit: 'stopped' } }, { exit: 'stopped' }],
  [
    'failed with its code',
    { process: { code: 1, signal: null }, said: { exit: 'failed', error: { code: 'a/b', message: 'why' } } },
    { exit: 'failed', error: { code: 'a/b', message: 'why' }, reason: 'why' },
  ],
  [
    'said it and was killed then',
    { process: { code: null, signal: 'SIGKILL' }, said: { exit: 'completed' } },
    { exit: 'completed' },
  ],
  ['killed by someone', { process: { code: null, signal: 'SIGKILL' } }, { exit: 'killed' }],
  ['crashed in native code', { process: { code: null, signal: 'SIGSEGV' } }, { exit: 'killed' }],
  [
    'killed by the kernel',
    { process: { code: null, signal: 'SIGKILL' }, oomKillSeen: true },
    { exit: 'oom' },
  ],
  [
    'out of heap',
    { process: { code: null, signal: 'SIGABRT' }, errorTail: 'FATAL ERROR: JavaScript heap out of memory' },
    { exit: 'oom' },
  ],
  [
    'bad_alloc',
    { process: { code: 134, signal: null }, errorTail: 'what():  std::bad_alloc' },
    { exit: 'oom' },
  ],
  [
    'ended at once on request',
    { process: { code: null, signal: 'SIGKILL' }, killedByHost: 'on-request' },
    { exit: 'stopped' },
  ],
  [
    'ended with its host',
    { process: { code: null, signal: 'SIGKILL' }, killedByHost: 'on-close' },
    { exit: 'killed' },
  ],
  [
    'another version',
    { process: { code: 64, signal: null } },
    { exit: 'failed', error: { code: 'worker/version-mismatch' } },
  ],
  [
    'an uncaught error',
    { process: { code: 1, signal: null }, errorTail: 'Error: boom' },
    { exit: 'failed', error: { code: 'worker/crashed', message: expect.stringContaining('boom') as string } },
  ],
  ['status 0 without a word', { process: { code: 0, signal: null } }, { exit: 'lost' }],
  ['not our process', { process: null }, { exit: 'lost' }],
  [
    'not our process, outcome committed',
    { process: null, said: { exit: 'completed' } },
    { exit: 'completed' },
  ],
])('WP9: %s', (_what, evidence, expected) => {
  expect(classifyExit({ ...nothing, ...evidence })).toMatchObject(expected);
});
