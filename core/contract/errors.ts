/**
 * The two kinds of failure the project throws.
 *
 * `UserError` is for what a person can cause and mend; everything else is a broken invariant of our own.
 */

/** What crosses a process or host boundary in place of a thrown error. */
export interface ErrorInfo {
  /** Stable machine-readable name, `area/what-is-wrong`, e.g. `safetensors/truncated`. */
  readonly code: string;
  /** What is wrong: names the file, row, field or option, and what was expected. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
}

/** A mistake in the user's files, options or machine: says where, what was expected, and what to do. */
export class UserError extends Error implements ErrorInfo {
  override readonly name = 'UserError';
  readonly code: string;
  readonly hint?: string;

  constructor(code: string, message: string, hint?: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    if (hint !== undefined) this.hint = hint;
  }
}

/** A broken assumption of our own; never caught and continued from. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/**
 * Asserts something our own code guarantees.
 * @param message says which scope or value; a function where this is asked so often that making the text costs something.
 * @throws InvariantError with `message` when `condition` is false.
 */
export function invariant(condition: unknown, message: string | (() => string)): asserts condition {
  if (!condition) throw new InvariantError(typeof message === 'string' ? message : message());
}

/** Turns anything thrown into the form that crosses a boundary; unknown errors keep their message under code `internal`. */
export function toErrorInfo(error: unknown): ErrorInfo {
  if (error instanceof UserError) {
    return error.hint === undefined
      ? { code: error.code, message: error.message }
      : { code: error.code, message: error.message, hint: error.hint };
  }
  return { code: 'internal', message: error instanceof Error ? error.message : String(error) };
}
