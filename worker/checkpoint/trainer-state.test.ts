import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import { diskFileSystem, type WritableFileSystem } from './file-system.ts';
import {
  listCheckpoints,
  openCheckpoint,
  openLatestCheckpoint,
  saveCheckpoint,
  type JsonValue,
  type NamedTensor,
} from './index.ts';
import { temporaryFolder } from './temporary-folder.fixture.ts';

const weights = (step: number, bytes = 8): readonly NamedTensor[] => [
  { name: 'w', dtype: 'U8', shape: [bytes], data: new Uint8Array(bytes).fill(step) },
];

/** The disk without waiting for it: these tests kill processes, not the power. */
const hasty: WritableFileSystem = { ...diskFileSystem, sync: () => undefined, syncFolder: () => undefined };

function save(runDir: string, step: number, keep = 10, fileSystem = hasty, bytes?: number) {
  return saveCheckpoint(runDir, step, {
    tensors: weights(step, bytes),
    state: { step, note: 'ü' },
    keep,
    fileSystem,
  });
}

const names = (runDir: string): string[] => readdirSync(join(runDir, 'checkpoints')).sort();
const folderOf = (runDir: string, step: number): string => join(runDir, 'checkpoints', `step-00000${step}`);

/** Step of the newest usable checkpoint, after checking that its content belongs to that step. */
function latestStep(runDir: string): number | undefined {
  const opened = openLatestCheckpoint(runDir);
  if (!opened) return undefined;
  const { info, state, tensors } = opened;
  expect(state).toMatchObject({ step: info.step } satisfies JsonValue);
  expect(tensors.read('w')[0]).toBe(info.step % 256);
  tensors.close();
  return info.step;
}

test('a checkpoint is read back, and its size and time are listed', () => {
  const run = temporaryFolder();
  expect(openLatestCheckpoint(run)).toBeUndefined();
  expect(listCheckpoints(run)).toEqual({ checkpoints: [], damaged: [] });
  const { undeleted, ...info } = save(run, 3);
  expect(undeleted).toEqual([]);
  expect(info).toMatchObject({ step: 3, path: folderOf(run, 3) });
  expect(Math.abs(Date.now() - info.wallMs)).toBeLessThan(60_000);
  expect(listCheckpoints(run).checkpoints).toEqual([info]);
  const opened = openLatestCheckpoint(run);
  expect(opened).toMatchObject({ info, state: { step: 3, note: 'ü' }, damaged: [] });
  expect(opened?.tensors.read('w')).toEqual(new Uint8Array(8).fill(3));
  opened?.tensors.close();
});

test('the newest are kept, leftovers removed, and other files left alone', () => {
  const run = temporaryFolder();
  for (const step of [1, 2, 3, 4]) save(run, step, 2);
  expect(names(run)).toEqual(['step-000003', 'step-000004']);
  mkdirSync(`${folderOf(run, 4)}.partial`);
  writeFileSync(join(run, 'checkpoints', 'notes.txt'), 'mine');
  save(run, 5, 1);
  expect(names(run)).toEqual(['notes.txt', 'step-000005']);
});

test('saving a step again replaces it; saving after a resume from an earlier step drops the abandoned ones', () => {
  const run = temporaryFolder();
  for (const step of [1, 2, 3]) save(run, step);
  saveCheckpoint(run, 3, { tensors: weights(3, 16), state: { step: 3 }, keep: 10 });
  const opened = openLatestCheckpoint(run);
  expect(opened?.tensors.read('w')).toHaveLength(16);
  expect(names(run)).toEqual(['step-000001', 'step-000002', 'step-000003-2']);
  opened?.tensors.close();
  save(run, 2, 1);
  expect(names(run)).toEqual(['step-000002-2']);
});

test('a damaged checkpoint is passed over and reported, in whatever way it is damaged', () => {
  const damage: Readonly<Record<string, (folder: string) => void>> = {
    'does not match its checksum': (folder) => {
      const file = join(folder, 'tensors.safetensors');
      const bytes = readFileSync(file);
      bytes[bytes.length - 1] = 77;
      writeFileSync(file, bytes);
    },
    'its manifest says': (folder) => truncateSync(join(folder, 'tensors.safetensors'), 20),
    'cannot be read (ENOENT)': (folder) => rmSync(join(folder, 'state.json')),
    'cannot be read (EISDIR)': (folder) => {
      rmSync(join(folder, 'state.json'));
      mkdirSync(join(folder, 'state.json'));
    },
    'manifest.json does not exist': (folder) => rmSync(join(folder, 'manifest.json')),
    'manifest.json is not valid JSON': (folder) => truncateSync(join(folder, 'manifest.json'), 30),
    'not a manifest of version 1': (folder) => {
      const file = join(folder, 'manifest.json');
      writeFileSync(file, readFileSync(file, 'utf8').replace('state.json', '../state.json'));
    },
    'describes another checkpoint': (folder) => {
      const file = join(folder, 'manifest.json');
      writeFileSync(file, readFileSync(file, 'utf8').replace('"step":2', '"step":1'));
    },
  };
  for (const [reason, apply] of Object.entries(damage)) {
    const run = temporaryFolder();
    save(run, 1);
    save(run, 2);
    apply(folderOf(run, 2));
    const opened = openLatestCheckpoint(run);
    expect(opened?.info.step).toBe(1);
    expect(opened?.damaged).toEqual([
      { step: 2, path: folderOf(run, 2), reason: expect.stringContaining(reason) as string },
    ]);
    opened?.tensors.close();
    expect(() => openCheckpoint(run, 2)).toThrow(reason);
    expect(() => openCheckpoint(run, 7)).toThrow('no checkpoint of step 7');
    rmSync(folderOf(run, 1), { recursive: true });
    expect(() => openLatestCheckpoint(run)).toThrow(
      expect.objectContaining({ code: 'checkpoint/all-damaged' }),
    );
  }
});

test('a checkpoint with an unreadable manifest is listed as damaged', () => {
  const run = temporaryFolder();
  save(run, 1);
  save(run, 2);
  writeFileSync(join(folderOf(run, 2), 'manifest.json'), '[]');
  expect(listCheckpoints(run)).toMatchObject({ checkpoints: [{ step: 1 }], damaged: [{ step: 2 }] });
});

const systemError = (code: string): Error => Object.assign(new Error(`${code}: injected`), { code });

/** A file system whose call number `failAt` fails; writes fail half way, as a full disk does. */
function failing(
  failAt: number,
  code: string,
): { readonly fs: WritableFileSystem; readonly calls: () => number } {
  let calls = 0;
  const guard = <A extends readonly unknown[], R>(real: (...args: A) => R): ((...args: A) => R) => {
    return (...args) => {
      if (++calls === failAt) throw systemError(code);
      return real(...args);
    };
  };
  const { create, write, sync, close, makeFolder, syncFolder, rename, remove } = hasty;
  return {
    fs: {
      create: guard(create),
      write: (descriptor, data) => {
        if (calls + 1 === failAt) write(descriptor, data.subarray(0, data.length / 2));
        return guard(write)(descriptor, data);
      },
      sync: guard(sync),
      close, // a failed close would leave the descriptor open
      makeFolder: guard(makeFolder),
      syncFolder: guard(syncFolder),
      rename: guard(rename),
      remove: guard(remove),
    },
    calls: () => calls,
  };
}

/** The code of the error that `act` throws; undefined when it throws none. */
function codeOf(act: () => unknown): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    return error instanceof UserError ? error.code : String(error);
  }
}

test('whatever call fails, a usable checkpoint remains and only a whole one counts', () => {
  const start = temporaryFolder();
  save(start, 1);
  save(start, 2);
  const total = failing(0, '');
  const rehearsal = join(temporaryFolder(), 'run');
  cpSync(start, rehearsal, { recursive: true });
  save(rehearsal, 3, 2, total.fs);
  expect(total.calls()).toBeGreaterThan(15);
  for (const step of [2, 3]) {
    for (let failAt = 1; failAt <= total.calls() + 3; failAt++) {
      const run = join(temporaryFolder(), 'run');
      cpSync(start, run, { recursive: true });
      const code = codeOf(() => save(run, step, 2, failing(failAt, 'ENOSPC').fs));
      expect([undefined, 'checkpoint/disk-full']).toContain(code);
      const failed = code !== undefined;
      expect(failed ? names(run).filter((name) => name.endsWith('.partial')) : []).toEqual([]);
      expect(failed ? existsSync(folderOf(run, 1)) : true).toBe(true);
      expect(latestStep(run)).toBeGreaterThanOrEqual(2);
      // The next save works, and leaves nothing behind.
      save(run, 4, 2);
      expect(names(run)).toEqual([expect.stringMatching(/^step-00000[23](-2)?$/), 'step-000004']);
    }
  }
});

test('a disk that stays full, and one that cannot be written, are told apart', () => {
  for (const [code, expected] of [
    ['ENOSPC', 'disk-full'],
    ['EDQUOT', 'disk-full'],
    ['EROFS', 'not-writable'],
    ['EACCES', 'not-writable'],
    ['EIO', 'write-failed'],
  ] as const) {
    const run = temporaryFolder();
    save(run, 1);
    const refuse = (): never => {
      throw systemError(code);
    };
    const fs = { ...hasty, create: refuse, write: refuse };
    expect(() => save(run, 2, 1, fs)).toThrow(expect.objectContaining({ code: `checkpoint/${expected}` }));
    expect(names(run)).toEqual(['step-000001']);
    expect(latestStep(run)).toBe(1);
  }
});

test('an older checkpoint that cannot be deleted does not fail the save; it is reported', () => {
  const run = temporaryFolder();
  save(run, 1);
  const fs: WritableFileSystem = {
    ...hasty,
    remove: (path) => {
      if (path.includes('step-000001')) throw systemError('EACCES');
      diskFileSystem.remove(path);
    },
  };
  const { undeleted } = save(run, 2, 1, fs);
  expect(undeleted).toEqual([expect.stringContaining('step-000001')]);
  expect(latestStep(run)).toBe(2);
  expect(listCheckpoints(run).checkpoints.map(({ step }) => step)).toEqual([2]);
});

test('a disk that is really full leaves the older checkpoint and no leftover', ({ skip }) => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    skip('needs root on Linux to mount a small disk');
  const disk = temporaryFolder();
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk]);
  if (mounted.status !== 0) skip(`cannot mount a small disk: ${mounted.stderr.toString()}`);
  onTestFinished(() => {
    expect(spawnSync('umount', [disk]).status).toBe(0);
  });
  save(disk, 1, 5, diskFileSystem, 300_000);
  expect(() => save(disk, 2, 5, diskFileSystem, 900_000)).toThrow(
    expect.objectContaining({
      code: 'checkpoint/disk-full',
      hint: expect.stringContaining('Free') as string,
    }),
  );
  expect(names(disk)).toEqual(['step-000001']);
  expect(latestStep(disk)).toBe(1);
  save(disk, 3, 5, diskFileSystem, 300_000);
  expect(latestStep(disk)).toBe(3);
});

/** Starts a process that saves into `run` step after step; each tensor says that it is being written, and takes a while. */
function startSaver(run: string, pauseMs: number) {
  const script = `
    import { saveCheckpoint } from ${JSON.stringify(new URL('index.ts', import.meta.url).href)};
    for (let step = 2; ; step++) {
      const tensor = (name) => ({ name, dtype: 'U8', shape: [100000], data: () => {
        process.stdout.write(step + name + '\\n');
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${pauseMs});
        return new Uint8Array(100000).fill(step);
      } });
      saveCheckpoint(${JSON.stringify(run)}, step, { tensors: ['w', 'x', 'y'].map(tensor), state: { step }, keep: 2 });
    }`;
  return spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

test('killed in the middle of a checkpoint: readers ignore the .partial, the older one opens, the next save cleans up', async () => {
  const run = temporaryFolder();
  save(run, 1);
  const child = startSaver(run, 10_000);
  let said = '';
  for await (const chunk of child.stdout) if ((said += String(chunk)).includes('2w')) break;
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(names(run)).toEqual(['step-000001', 'step-000002.partial']);
  expect(listCheckpoints(run).checkpoints.map(({ step }) => step)).toEqual([1]);
  expect(latestStep(run)).toBe(1);
  save(run, 2);
  expect(names(run)).toEqual(['step-000001', 'step-000002']);
});

test('killed at any moment while saving and deleting, the newest checkpoint opens', async () => {
  for (const delay of [0, 7, 18, 30, 45]) {
    const run = temporaryFolder();
    save(run, 1);
    const child = startSaver(run, 0);
    await once(child.stdout, 'data');
    child.stdout.resume();
    await setTimeout(delay);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const complete = names(run).filter((name) => !name.endsWith('.partial'));
    expect(latestStep(run)).toBe(Number(complete.at(-1)?.slice(5)));
    expect(listCheckpoints(run).damaged).toEqual([]);
  }
});
