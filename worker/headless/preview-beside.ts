/** Previews experts in a process of its own. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { ExpertPreview } from '#core/contract/method.ts';
import { ErrorInfoSchema } from '#core/contract/result.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import type { WorkerProgram } from './spawn-worker.ts';

const Answer = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), value: ExpertPreview }),
  z.object({ ok: z.literal(false), error: ErrorInfoSchema }),
]);

/**
 * What `previewExperts` says of a run, from the program that lies beside the worker's entry file.
 * @throws UserError those of `previewExperts`; `plan/preview-failed` where the process ends without an answer.
 */
export async function previewBeside(
  { node, entry }: WorkerProgram,
  spec: RunSpec,
  cacheDir: string,
): Promise<ExpertPreview> {
  const script = path.join(path.dirname(entry), `preview.process${path.extname(entry)}`);
  const child = spawn(node, ['--no-warnings', script], { windowsHide: true });
  child.stdin.end(JSON.stringify({ spec, cacheDir }));
  const [answer, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  if (answer === '') {
    throw new UserError(
      'plan/preview-failed',
      `the preview of experts ended without an answer: ${errors.trim().slice(-500) || 'it was stopped'}`,
      'There may be too little memory beside a run; try again when it has ended.',
    );
  }
  const parsed = Answer.parse(JSON.parse(answer));
  if (parsed.ok) return parsed.value;
  const { code, message, hint } = parsed.error;
  throw new UserError(code, message, hint);
}
