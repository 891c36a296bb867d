/** Work in a process of its own, by a program that lies beside the worker's entry file. */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { ExpertPreview } from '#core/contract/method.ts';
import { ErrorInfoSchema } from '#core/contract/result.ts';
import { ExportProgress, type ExportRequest, ExportResult } from '#core/contract/run-export.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { type AskRequest, AskProgress, SuiteScore } from '#core/contract/suite-score.ts';
import type { WorkerProgram } from './spawn-worker.ts';

/** What a process is asked. */
interface Question<T> {
  /** Name of the program's file, without its extension. */
  readonly program: string;
  readonly request: unknown;
  readonly answer: z.ZodType<T>;
  /** Said of an end without an answer, which is most often one for want of memory. */
  readonly noAnswer: { readonly code: string; readonly what: string };
  readonly onNotice?: (notice: unknown) => void;
  /** Ends the process at once. */
  readonly signal?: AbortSignal;
}

/** Hands `request` over, hears the notices, and returns the answer. @throws UserError what the process answers with, or `noAnswer`. */
async function askBeside<T>({ node, entry }: WorkerProgram, question: Question<T>): Promise<T> {
  const script = path.join(path.dirname(entry), `${question.program}.process${path.extname(entry)}`);
  const child = spawn(node, ['--no-warnings', script], {
    windowsHide: true,
    killSignal: 'SIGKILL',
    ...(question.signal && { signal: question.signal }),
  });
  // Of a process that is ended, or that could not be started: both have no answer.
  child.on('error', () => undefined);
  child.stdin.on('error', () => undefined);
  child.stdin.end(JSON.stringify(question.request));
  const errors = text(child.stderr);
  let last: unknown;
  for await (const line of createInterface({ input: child.stdout })) {
    last = JSON.parse(line);
    const { success, data } = Notice.safeParse(last);
    if (success) question.onNotice?.(data.notice);
  }
  const { noAnswer, answer } = question;
  const parsed = Failure.or(z.object({ ok: z.literal(true), value: answer })).safeParse(last);
  if (!parsed.success) {
    throw new UserError(
      noAnswer.code,
      `${noAnswer.what} ended without an answer: ${(await errors).trim().slice(-500) || 'it was stopped'}`,
      'There may be too little memory beside a run; try again when it has ended.',
    );
  }
  if (parsed.data.ok) return parsed.data.value;
  const { code, message, hint } = parsed.data.error;
  throw new UserError(code, message, hint);
}

const Notice = z.object({ notice: z.unknown() });
const Failure = z.object({ ok: z.literal(false), error: ErrorInfoSchema });

/**
 * What `previewExperts` says of a run.
 * @throws UserError those of `previewExperts`; `plan/preview-failed` where the process ends without an answer.
 */
export function previewBeside(
  program: WorkerProgram,
  spec: RunSpec,
  cacheDir: string,
): Promise<ExpertPreview> {
  return askBeside(program, {
    program: 'preview',
    request: { spec, cacheDir },
    answer: ExpertPreview,
    noAnswer: { code: 'plan/preview-failed', what: 'the preview of experts' },
  });
}

/**
 * The score of a run on a suite, kept beside the run.
 * @throws UserError those of `scoreSuites`; `suite/failed` where the process ends without an answer, as after `signal`.
 */
export async function scoreBeside(
  program: WorkerProgram,
  request: AskRequest,
  onProgress: (progress: AskProgress) => void,
  signal: AbortSignal,
): Promise<void> {
  await askBeside(program, {
    program: 'evaluate',
    request,
    answer: z.array(SuiteScore),
    noAnswer: { code: 'suite/failed', what: 'asking the questions' },
    onNotice: (notice) => onProgress(AskProgress.parse(notice)),
    signal,
  });
}

/**
 * What was exported of a run.
 * @throws UserError those of `exportRun`; `export/failed` where the process ends without an answer, as after `signal`. Nothing
 *   is then left behind.
 */
export async function exportBeside(
  program: WorkerProgram,
  request: ExportRequest,
  onProgress: (progress: ExportProgress) => void,
  signal: AbortSignal,
): Promise<ExportResult> {
  try {
    return await askBeside(program, {
      program: 'export',
      request,
      answer: ExportResult,
      noAnswer: { code: NO_EXPORT, what: 'the export' },
      onNotice: (notice) => onProgress(ExportProgress.parse(notice)),
      signal,
    });
  } catch (error) {
    if (error instanceof UserError && error.code === NO_EXPORT) {
      const { partialFolder } = await import('#worker/checkpoint/index.ts');
      rmSync(partialFolder(request.out), { recursive: true, force: true });
    }
    throw error;
  }
}

const NO_EXPORT = 'export/failed';
