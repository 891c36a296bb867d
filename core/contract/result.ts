/** The envelope of every reply that crosses a boundary. */
import { z } from 'zod';
import { toErrorInfo } from './errors.ts';

/** An error on its way over a boundary: see `ErrorInfo`. */
export const ErrorInfoSchema = z.object({
  code: z.string(),
  message: z.string(),
  hint: z.string().optional(),
});

/** Either the value or what went wrong, never both. */
export type Result<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: z.infer<typeof ErrorInfoSchema> };

/** Runs `work` and wraps what it returns or throws. */
export async function resultOf<T>(work: () => Promise<T> | T): Promise<Result<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (error) {
    return { ok: false, error: toErrorInfo(error) };
  }
}
