import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { CheckpointInfo } from '#core/contract/checkpoint.ts';
import { UserError, invariant } from '#core/contract/errors.ts';
import {
  digestFile,
  diskFileSystem,
  writeDurably,
  writeError,
  type FileDigest,
  type WritableFileSystem,
} from './file-system.ts';
import { readJsonObject, systemCode, type JsonValue } from './json-file.ts';
import { SafetensorsFile, writeSafetensors, type NamedTensor } from './safetensors.ts';

/**
 * Resumable checkpoints of a run, in `<run>/checkpoints/step-000120/`:
 *
 *     tensors.safetensors   trained weights, optimizer moments, method buffers
 *     state.json            {"state": …}: counters, random state, loader position
 *     manifest.json         size and SHA-256 of the other two; written last
 *
 * A checkpoint is written to `step-000120.partial/`, made durable, and renamed, so a folder without `.partial` is
 * complete. Everything named `*.partial` is a leftover that readers ignore and the next save removes. One process
 * writes to a run.
 */
const FOLDER = 'checkpoints';
const PARTIAL = '.partial';
const TENSORS = 'tensors.safetensors';
const STATE = 'state.json';
const MANIFEST = 'manifest.json';

const fileDigest = z.object({
  name: z.enum([TENSORS, STATE]),
  bytes: z.int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
const manifestSchema = z.object({
  schema: z.literal(1),
  step: z.int().nonnegative(),
  /** When it was saved, milliseconds since 1970. */
  wallMs: z.int(),
  files: z.tuple([fileDigest, fileDigest]),
});
type Manifest = z.infer<typeof manifestSchema>;

/** A checkpoint that cannot be used, and why. */
export interface DamagedCheckpoint {
  readonly step: number;
  readonly path: string;
  readonly reason: string;
}

/** What a checkpoint holds, and how many stay. */
export interface SaveRequest {
  readonly tensors: Iterable<NamedTensor>;
  readonly state: JsonValue;
  /** How many checkpoints to keep, this one included; at least 1. */
  readonly keep: number;
  readonly fileSystem?: WritableFileSystem;
}

/** What saving did. */
export interface SavedCheckpoint extends CheckpointInfo {
  /** Folders that should have been deleted but could not be, each with the reason. */
  readonly undeleted: readonly string[];
}

/**
 * Saves a checkpoint, then deletes what is beyond `keep`: the oldest, and any with a higher step, which a run resumed
 * from an earlier one has left behind. Saving a step again
 * replaces it. The one just saved is never deleted, and nothing is deleted before it is durable.
 * @throws UserError `checkpoint/disk-full`, `/not-writable` or `/write-failed`; the older checkpoints are then as
 *   they were, and no `.partial` is left
 */
export function saveCheckpoint(
  runDir: string,
  step: number,
  { tensors, state, keep, fileSystem: fs = diskFileSystem }: SaveRequest,
): SavedCheckpoint {
  invariant(Number.isSafeInteger(step) && step >= 0, `checkpoint: step ${step} is no count`);
  invariant(Number.isInteger(keep) && keep >= 1, `checkpoint: cannot keep ${keep} checkpoints`);
  const folder = join(runDir, FOLDER);
  const path = join(folder, nextFolderName(runDir, step));
  const partial = path + PARTIAL;
  let manifest: Manifest;
  try {
    fs.makeFolder(folder);
    for (const name of readdirSync(folder)) if (name.endsWith(PARTIAL)) fs.remove(join(folder, name));
    fs.makeFolder(partial);
    const text = (value: unknown): Uint8Array[] => [new TextEncoder().encode(`${JSON.stringify(value)}\n`)];
    const files: [FileDigest, FileDigest] = [
      writeSafetensors(join(partial, TENSORS), tensors, { fileSystem: fs }),
      writeDurably(fs, join(partial, STATE), text({ state })),
    ];
    manifest = manifestSchema.parse({ schema: 1, step, wallMs: Date.now(), files });
    writeDurably(fs, join(partial, MANIFEST), text(manifest));
    fs.syncFolder(partial);
    fs.rename(partial, path);
    fs.syncFolder(folder);
  } catch (error) {
    removeFolder(fs, partial); // what cannot be removed now, the next save removes
    throw writeError(error, 'checkpoint', path);
  }
  const others = completeFolders(runDir).filter((other) => other.path !== path);
  const obsolete = [
    ...others.filter((other) => other.step >= step),
    ...others.filter((other) => other.step < step).slice(keep - 1),
  ];
  return { ...toInfo(path, manifest), undeleted: obsolete.flatMap((old) => removeFolder(fs, old.path)) };
}

/** Renames a folder so that readers ignore it, then removes it. Returns the reason when the system refuses. */
function removeFolder(fs: WritableFileSystem, path: string): readonly string[] {
  const doomed = path.endsWith(PARTIAL) ? path : `${path}.deleted${PARTIAL}`;
  try {
    if (doomed !== path) fs.rename(path, doomed);
    fs.remove(doomed);
    return [];
  } catch (error) {
    const mapped = writeError(error, 'checkpoint', path);
    if (mapped instanceof UserError) return [mapped.message];
    throw error;
  }
}

function toInfo(path: string, { step, wallMs, files }: Manifest): CheckpointInfo {
  return { step, path, wallMs, bytes: files.reduce((sum, file) => sum + file.bytes, 0) };
}

/** A folder that was given its final name. A step saved again has a higher revision; the older one is then deleted. */
interface CompleteFolder {
  readonly step: number;
  readonly revision: number;
  readonly path: string;
}

/** The complete folders of a run, newest first. */
function completeFolders(runDir: string): readonly CompleteFolder[] {
  const folder = join(runDir, FOLDER);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .flatMap((name) => {
      const [, step, revision = '1'] = /^step-(\d{6,})(?:-(\d+))?$/.exec(name) ?? [];
      return step === undefined
        ? []
        : { step: Number(step), revision: Number(revision), path: join(folder, name) };
    })
    .sort((a, b) => b.step - a.step || b.revision - a.revision);
}

/** `step-000120`, or `step-000120-2` where the step has been saved before: a complete folder is never written over. */
function nextFolderName(runDir: string, step: number): string {
  const name = `step-${String(step).padStart(6, '0')}`;
  const latest = completeFolders(runDir).find((other) => other.step === step)?.revision;
  return latest === undefined ? name : `${name}-${latest + 1}`;
}

/**
 * The checkpoints of a run, newest first, from their manifests alone; contents are verified when one is opened.
 * Those whose manifest cannot be read are in `damaged`.
 */
export function listCheckpoints(runDir: string): {
  readonly checkpoints: readonly CheckpointInfo[];
  readonly damaged: readonly DamagedCheckpoint[];
} {
  const checkpoints: CheckpointInfo[] = [];
  const damaged: DamagedCheckpoint[] = [];
  for (const { step, path } of completeFolders(runDir)) {
    const manifest = orReason(() => readManifest(path, step));
    if ('reason' in manifest) damaged.push({ step, path, reason: manifest.reason });
    else checkpoints.push(toInfo(path, manifest.value));
  }
  return { checkpoints, damaged };
}

/** A verified checkpoint, open for reading. The caller closes `tensors`. */
export interface OpenCheckpoint {
  readonly info: CheckpointInfo;
  readonly state: JsonValue;
  readonly tensors: SafetensorsFile;
  /** Newer checkpoints that were passed over. */
  readonly damaged: readonly DamagedCheckpoint[];
}

/**
 * Opens the newest checkpoint whose files match their checksums; undefined when the run has none.
 * @throws UserError `checkpoint/all-damaged` when there are some but none can be used
 */
export function openLatestCheckpoint(runDir: string): OpenCheckpoint | undefined {
  const damaged: DamagedCheckpoint[] = [];
  for (const { step, path } of completeFolders(runDir)) {
    const opened = orReason(() => openFolder(path, step));
    if ('value' in opened) return { ...opened.value, damaged };
    damaged.push({ step, path, reason: opened.reason });
  }
  if (damaged.length === 0) return undefined;
  throw new UserError(
    'checkpoint/all-damaged',
    `No checkpoint of ${runDir} can be used: ${damaged.map((d) => `step ${d.step}: ${d.reason}`).join(' ')}`,
    'Start the run again, or restore a checkpoint folder from a backup.',
  );
}

/**
 * Opens the checkpoint of one step after verifying its checksums.
 * @throws UserError `checkpoint/…` or `safetensors/…` when it is missing or damaged
 */
export function openCheckpoint(runDir: string, step: number): OpenCheckpoint {
  const found = completeFolders(runDir).find((folder) => folder.step === step);
  if (!found) {
    throw new UserError(
      'checkpoint/missing',
      `${runDir} has no checkpoint of step ${step}.`,
      'Choose a listed one.',
    );
  }
  return openFolder(found.path, step);
}

function openFolder(path: string, step: number): OpenCheckpoint {
  const manifest = readManifest(path, step);
  for (const file of manifest.files) verifyFile(path, file);
  const { state } = readJsonObject(join(path, STATE), 'checkpoint/state');
  if (state === undefined) throw damagedError(`${join(path, STATE)} has no "state"`);
  return {
    info: toInfo(path, manifest),
    state,
    tensors: new SafetensorsFile(join(path, TENSORS)),
    damaged: [],
  };
}

function damagedError(message: string): UserError {
  return new UserError('checkpoint/damaged', `${message}.`, 'Resume from an older checkpoint.');
}

function readManifest(path: string, step: number): Manifest {
  const file = join(path, MANIFEST);
  const parsed = manifestSchema.safeParse(readJsonObject(file, 'checkpoint/manifest'));
  if (!parsed.success)
    throw damagedError(`${file} is not a manifest of version 1: ${z.prettifyError(parsed.error)}`);
  const names = new Set(parsed.data.files.map(({ name }) => name));
  if (parsed.data.step !== step || names.size !== 2) {
    throw damagedError(`${file} describes another checkpoint`);
  }
  return parsed.data;
}

function verifyFile(path: string, { name, bytes, sha256 }: FileDigest): void {
  const file = join(path, name);
  let found: FileDigest;
  try {
    found = digestFile(file);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    throw damagedError(`${file} cannot be read (${systemCode(error)})`);
  }
  if (found.bytes !== bytes)
    throw damagedError(`${file} has ${found.bytes} bytes, its manifest says ${bytes}`);
  if (found.sha256 !== sha256) throw damagedError(`${file} does not match its checksum`);
}

/** The result, or the message of a UserError; anything else is thrown on. */
function orReason<T>(read: () => T): { readonly value: T } | { readonly reason: string } {
  try {
    return { value: read() };
  } catch (error) {
    if (error instanceof UserError) return { reason: error.message };
    throw error;
  }
}
