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

/** What a file system refuses, in words, and what to do: a person's to mend, wherever it comes up. */
const REFUSALS: Readonly<Record<string, readonly [code: string, what: string, hint: string]>> = {
  EACCES: ['files/no-permission', 'no permission', 'Choose another folder, or change its permissions.'],
  EPERM: ['files/no-permission', 'no permission', 'Choose another folder, or change its permissions.'],
  EROFS: ['files/read-only', 'the file system is read-only', 'Choose another folder.'],
  ENOTDIR: ['files/not-a-folder', 'a part of the path is no folder', 'Choose another folder.'],
  EEXIST: ['files/exists', 'a file is there already', 'Choose another name.'],
  EISDIR: ['files/is-a-folder', 'a folder is there already', 'Choose another name.'],
  ENOSPC: ['files/disk-full', 'the disk is full', 'Free some space, then try again.'],
  EDQUOT: ['files/disk-full', 'the quota of the disk is used up', 'Free some space, then try again.'],
};

/** Undefined for what is no refusal of a file system. */
function fileRefusal(error: unknown): ErrorInfo | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) return undefined;
  const refusal = REFUSALS[String(error.code)];
  if (refusal === undefined) return undefined;
  const [code, what, hint] = refusal;
  const place = 'path' in error && typeof error.path === 'string' ? error.path : String(error.syscall);
  return { code, message: `${place}: ${what} (${String(error.code)})`, hint };
}

/**
 * Turns anything thrown into the form that crosses a boundary; refusals of a file system are told as such, other unknown errors keep
 * their message under code `internal`.
 */
export function toErrorInfo(error: unknown): ErrorInfo {
  if (error instanceof UserError) {
    return error.hint === undefined
      ? { code: error.code, message: error.message }
      : { code: error.code, message: error.message, hint: error.hint };
  }
  return (
    fileRefusal(error) ?? {
      code: 'internal',
      message: error instanceof Error ? error.message : String(error),
    }
  );
}
