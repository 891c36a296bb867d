/** The trained model of a run for use elsewhere. */
import { existsSync, readFileSync } from 'node:fs';
import { toErrorInfo, UserError } from '#core/contract/errors.ts';
import { methodLabel } from '#core/contract/methods-together.ts';
import type {
  ExportProgress,
  ExportRequest,
  ExportResult,
  RefusedFormat,
} from '#core/contract/run-export.ts';
import { programVersion } from '#core/process/program-root.ts';
import { ADDITIONS_FILE, type FileDigest } from '#worker/checkpoint/index.ts';
import { usedSession } from '#worker/methods/index.ts';
import { adaptersByName } from '#worker/train/index.ts';
import type { LogitComparison } from './compare-logits.ts';
import { openTrainedRun, type TrainedRun } from './trained-run.ts';
import { writeAdapters, type TrainedAdapters } from './write-adapters.ts';
import { writeDelta } from './write-delta.ts';
import { writeModel } from './write-model.ts';
import { writeOnnx } from './write-onnx.ts';
import path from 'node:path';

/** Files in which a run keeps the state of its router; stock loaders do not read them. */
const ROUTER_FILES = [
  'moe_bias_states.json',
  'forced_experts_records.json',
  'default_outputs.safetensors',
  'token_experts.safetensors',
];

interface Written {
  readonly files: readonly FileDigest[];
  readonly tensors: number;
  readonly logits?: LogitComparison;
}

/**
 * Writes the export and reads it back.
 * @throws UserError `run/no-checkpoint`, `export/…`, `adapter-file/…` and those of the model folder; nothing is then left behind.
 */
export async function exportRun(
  request: ExportRequest,
  onProgress?: (progress: ExportProgress) => void,
): Promise<ExportResult> {
  const { runDir, format, dtype, out } = request;
  const run = await openTrainedRun(runDir);
  try {
    // What they say is part of an ONNX graph.
    const routerFiles = format === 'onnx' ? new Map<string, Uint8Array>() : readRouterFiles(runDir);
    const { files, tensors, logits } = await write(run, request, routerFiles, onProgress);
    const ignored = files
      .map(({ name }) => name)
      .filter((name) => [...ROUTER_FILES, ADDITIONS_FILE].includes(name));
    return {
      format,
      dtype,
      out,
      step: run.step,
      files: [...files],
      tensors,
      ...(logits && { logits }),
      verified: logits === undefined ? 'read back and equal' : comparedWords(logits),
      notes:
        ignored.length === 0
          ? []
          : [`Other programs ignore ${ignored.join(' and ')} and then compute something else.`],
    };
  } finally {
    run.close();
  }
}

/** What the run in `runDir` cannot be exported as, and why. @throws UserError as `exportRun`. */
export async function refusedFormats(runDir: string): Promise<RefusedFormat[]> {
  const run = await openTrainedRun(runDir);
  try {
    const { family, plan, adapters } = adaptersOf(run);
    adaptersByName(family, plan, adapters);
    return [];
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return [{ format: 'adapter', error: toErrorInfo(error) }];
  } finally {
    run.close();
  }
}

async function write(
  run: TrainedRun,
  { format, out, dtype }: ExportRequest,
  routerFiles: ReadonlyMap<string, Uint8Array>,
  onProgress?: (progress: ExportProgress) => void,
): Promise<Written> {
  switch (format) {
    case 'hf':
      return writeModel(run, out, dtype, routerFiles, onProgress);
    case 'delta':
      return writeDelta(run, out, dtype, `condenser ${programVersion()}`, onProgress);
    case 'adapter':
      // As they were trained, unless told otherwise.
      return writeAdapters(adaptersOf(run), out, dtype === 'source' ? 'F32' : dtype, routerFiles, onProgress);
    case 'onnx':
      return writeOnnx(run, usedSession(run.session()), out, dtype, onProgress);
  }
}

/** The adapters alone. @throws UserError where the run has none, or PEFT has no names for them. */
function adaptersOf(run: TrainedRun): TrainedAdapters {
  const { adapters, spec } = run;
  if (adapters?.kind !== 'low-rank') {
    throw new UserError(
      'export/no-adapters',
      `the run trained weights with ${methodLabel(spec.method)}, not low-rank adapters`,
      'Use --format hf or delta.',
    );
  }
  return { ...run, adapters, base: path.basename(spec.model.path) };
}

function readRouterFiles(runDir: string): Map<string, Uint8Array> {
  return new Map(
    ROUTER_FILES.filter((name) => existsSync(path.join(runDir, name))).map((name) => [
      name,
      readFileSync(path.join(runDir, name)),
    ]),
  );
}

/** What running an ONNX file showed. */
function comparedWords({ largestDifference, largestLogit, rowsApart }: LogitComparison): string {
  const apart =
    rowsApart === 0 ? '' : `, but in ${rowsApart} rows, where tokens with nearly tied experts went to others`;
  return `run by ONNX Runtime: logits of up to ${largestLogit.toPrecision(3)} differ by at most ${largestDifference.toPrecision(2)}${apart}`;
}
