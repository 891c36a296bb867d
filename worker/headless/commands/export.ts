/** `export RUN`: the trained model for use elsewhere. */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { methodLabel } from '#core/contract/methods-together.ts';
import {
  ADDITIONS_FILE,
  encodeFloats,
  isFloatDtype,
  readSafetensors,
  writeSafetensors,
  type FloatDtype,
  type NamedTensor,
} from '#worker/checkpoint/index.ts';
import { usedSession } from '#worker/methods/index.ts';
import { additionsOf, isAddition, type Parameter } from '#worker/model/index.ts';
import { placeOf, writeAdapters, writeModel, writeOnnx } from '#worker/train/index.ts';
import { programVersion } from '../host-ports.ts';
import type { Command } from './command.ts';
import { findRun } from './find-run.ts';
import { count, megabytes, number } from './terminal.ts';
import { openTrainedRun, type TrainedRun } from './trained-run.ts';

type Format = 'hf' | 'delta' | 'adapter' | 'onnx';
type Dtype = FloatDtype | 'source';

/** Files in which a run keeps the state of its router; stock loaders do not read them. */
const ROUTER_FILES = [
  'moe_bias_states.json',
  'forced_experts_records.json',
  'default_outputs.safetensors',
  'token_experts.safetensors',
];

/** Writes the export and reads it back. */
export const exportRun: Command = async (invocation) => {
  const format = invocation.choice<Format>('format', ['hf', 'delta', 'adapter', 'onnx']) ?? 'hf';
  const out = path.resolve(invocation.requiredText('out'));
  const given = invocation.choice<Dtype>('dtype', ['source', 'F32', 'BF16', 'F16']);
  const dtype = given ?? (format === 'onnx' ? 'F32' : 'source');
  const runDir = findRun(invocation.args[0] ?? '', invocation.home);
  const run = await openTrainedRun(runDir);
  try {
    // What they say is part of an ONNX graph.
    const routerFiles = format === 'onnx' ? new Map<string, Uint8Array>() : readRouterFiles(runDir);
    const written = await write(run, format, out, dtype, routerFiles);
    const own = [...routerFiles.keys(), ...written.files.map(({ name }) => name)];
    const ignored = own.filter((name) => [...ROUTER_FILES, ADDITIONS_FILE].includes(name));
    const notes =
      ignored.length === 0
        ? []
        : [`Other programs ignore ${[...new Set(ignored)].join(' and ')} and then compute something else.`];
    return {
      document: { format, out, step: run.step, dtype, ...written, notes },
      text: [
        `${out}: step ${count(run.step)} as ${format}, ${written.files.length} files, ` +
          `${megabytes(written.files.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6)}, ${verified(written)}`,
        ...notes.map((note) => `Note: ${note}`),
      ].join('\n'),
    };
  } finally {
    run.close();
  }
};

/** What reading the export back showed. */
function verified(written: object): string {
  if (!('largestDifference' in written && 'largestLogit' in written && 'rowsApart' in written))
    return 'read back and equal';
  const { largestDifference, largestLogit, rowsApart } = written;
  const apart =
    rowsApart === 0
      ? ''
      : `, but in ${count(Number(rowsApart))} rows, where tokens with nearly tied experts went to others`;
  return `run by ONNX Runtime: logits of up to ${number(Number(largestLogit), 3)} differ by at most ${number(Number(largestDifference), 2)}${apart}`;
}

async function write(
  run: TrainedRun,
  format: Format,
  out: string,
  dtype: Dtype,
  routerFiles: ReadonlyMap<string, Uint8Array>,
) {
  switch (format) {
    case 'hf':
      return writeModel(run, out, dtype, routerFiles);
    case 'delta':
      return writeDelta(run, out, dtype);
    case 'adapter':
      return writeRunAdapters(run, out, dtype, routerFiles);
    case 'onnx':
      return writeOnnx(run, usedSession(run.session()), out, dtype);
  }
}

/** The adapters alone, in the format of PEFT; in float32, as they were trained, unless told otherwise. */
function writeRunAdapters(
  run: TrainedRun,
  out: string,
  dtype: Dtype,
  routerFiles: ReadonlyMap<string, Uint8Array>,
) {
  const { adapters, spec } = run;
  if (adapters?.kind !== 'low-rank') {
    throw new UserError(
      'export/no-adapters',
      `the run trained weights with ${methodLabel(spec.method)}, not low-rank adapters`,
      'Use --format hf or delta.',
    );
  }
  const base = path.basename(spec.model.path);
  return writeAdapters({ ...run, adapters, base }, out, dtype === 'source' ? 'F32' : dtype, routerFiles);
}

function readRouterFiles(runDir: string): Map<string, Uint8Array> {
  return new Map(
    ROUTER_FILES.filter((name) => existsSync(path.join(runDir, name))).map((name) => [
      name,
      readFileSync(path.join(runDir, name)),
    ]),
  );
}

/** The published name of a parameter; its own id where the published tensor holds others too. */
function deltaName({ family, plan }: TrainedRun, parameter: Parameter): string {
  const published = family.stored(parameter, plan)[0];
  return published === undefined || published.block !== undefined ? parameter.id : published.name;
}

/** Only what changed: `delta.safetensors` under the published names, and `delta.json` with the hash of the base. */
function writeDelta(run: TrainedRun, out: string, dtype: Dtype) {
  if (existsSync(out) && readdirSync(out).length > 0) {
    throw new UserError('export/exists', `${out} exists and is not an empty folder`, 'Choose another name.');
  }
  const changed = run.parameters.filter((parameter) => run.isChanged(parameter) && differs(run, parameter));
  const typeOf = (parameter: Parameter): FloatDtype => {
    const own = run.source.tensors.get(placeOf(run, parameter)?.name ?? '')?.dtype;
    return dtype !== 'source' ? dtype : own !== undefined && isFloatDtype(own) ? own : 'F32';
  };
  const tensors = changed.map((parameter): NamedTensor => {
    const type = typeOf(parameter);
    return {
      name: deltaName(run, parameter),
      dtype: type,
      shape: parameter.shape,
      data: () => encodeFloats(run.values(parameter), type),
    };
  });
  mkdirSync(out, { recursive: true });
  try {
    const file = path.join(out, 'delta.safetensors');
    const digest = writeSafetensors(file, tensors, { metadata: { format: 'pt' } });
    verifyDelta(file, run, changed, typeOf);
    const manifest = path.join(out, 'delta.json');
    const text = `${JSON.stringify(manifestOf(run, tensors), null, 2)}\n`;
    writeFileSync(manifest, text);
    return {
      files: [digest, { name: 'delta.json', bytes: Buffer.byteLength(text) }],
      tensors: tensors.length,
    };
  } catch (error) {
    rmSync(out, { recursive: true, force: true });
    throw error;
  }
}

function differs(run: TrainedRun, parameter: Parameter): boolean {
  if (isAddition(parameter) && run.source.additions?.tensors.has(parameter.id) !== true) return true;
  const base = run.sourceValues(parameter);
  return run.values(parameter).some((value, i) => value !== base[i]);
}

function manifestOf({ spec, step, source, plan }: TrainedRun, tensors: readonly NamedTensor[]) {
  return {
    format: 'condenser-delta',
    version: 1,
    program: `condenser ${programVersion()}`,
    base: { name: path.basename(spec.model.path), files: source.files },
    method: methodLabel(spec.method),
    additions: additionsOf(plan),
    step,
    tensors: tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
  };
}

/** Reads every tensor back. @throws UserError `export/not-verified`. */
function verifyDelta(
  file: string,
  run: TrainedRun,
  changed: readonly Parameter[],
  typeOf: (parameter: Parameter) => FloatDtype,
): void {
  const reread = readSafetensors(file);
  try {
    for (const parameter of changed) {
      const name = deltaName(run, parameter);
      const want = encodeFloats(run.values(parameter), typeOf(parameter));
      const got = new Uint8Array(want.byteLength);
      reread.readInto(name, got);
      if (Buffer.compare(got, want) === 0) continue;
      throw new UserError(
        'export/not-verified',
        `${file}: ${name} does not read back as written`,
        'Check the disk.',
      );
    }
  } finally {
    reread.close();
  }
}
