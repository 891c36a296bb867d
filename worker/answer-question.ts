/** What programs have in common that a host asks one question, in a process of their own: a model in memory is nothing for a host. */
import { text } from 'node:stream/consumers';
import type { z } from 'zod';
import { resultOf } from '#core/contract/result.ts';

/**
 * Reads one request as JSON from stdin; writes a line of JSON for each notice of progress, then one with the result of `work`.
 * @throws ZodError where the request is not one: the host made it.
 */
export async function answerQuestion<R>(
  Request: z.ZodType<R>,
  work: (request: R, notice: (progress: unknown) => void) => Promise<unknown>,
): Promise<void> {
  const say = (line: unknown) => void process.stdout.write(`${JSON.stringify(line)}\n`);
  // Whoever asked is gone.
  process.stdout.once('error', () => process.exit(1));
  const request = Request.parse(JSON.parse(await text(process.stdin)));
  say(await resultOf(() => work(request, (notice) => say({ notice }))));
}
