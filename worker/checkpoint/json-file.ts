import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { invariant, UserError } from '#core/contract/errors.ts';

/** Any value JSON can hold. */
export type JsonValue =
  null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** What JSON has between braces. */
export type JsonObject = Readonly<Record<string, JsonValue>>;

/** No JSON file read here comes near this; a larger one is not what it claims to be. */
const MAXIMUM_BYTES = 100 * 2 ** 20;

/** Whether a value has keys: no array, and not null. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The `code` of a failed system call, e.g. `ENOENT`; undefined for other errors. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Reads a JSON file whose top value must be an object.
 * @param area first part of the error codes
 * @param options.uniqueKeys refuse an object that holds a key twice; otherwise the last one counts
 * @throws UserError `<area>/missing`, `/unreadable`, `/not-json`, `/not-an-object` or `/duplicate`, naming the file
 */
export function readJsonObject(
  path: string,
  area: string,
  { uniqueKeys = false }: { readonly uniqueKeys?: boolean } = {},
): JsonObject {
  const text = readText(path, area);
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UserError(
      `${area}/not-json`,
      `${path} is not valid JSON: ${reason}`,
      'Copy or download it again.',
      {
        cause,
      },
    );
  }
  if (!isObject(value)) {
    throw new UserError(`${area}/not-an-object`, `${path} must hold a JSON object ({…}) at the top level.`);
  }
  const duplicate = uniqueKeys ? findDuplicateKey(text) : undefined;
  if (duplicate !== undefined) {
    throw new UserError(`${area}/duplicate`, `${path} holds ${JSON.stringify(duplicate)} twice.`);
  }
  return value;
}

/** Standard members of `JSON` (ECMA-262, JSON.parse source text access) that its type does not have yet. */
const precise = JSON as unknown as {
  parse(
    text: string,
    reviver: (key: string, value: JsonValue, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
};

/**
 * A JSON object whose numbers `JSON.stringify` writes as the text has them: strict loaders tell 0.0 from 0. Numbers are not to
 * be read from it.
 */
export function keepNumbers(text: string): Readonly<Record<string, unknown>> {
  const value = precise.parse(text, (_key, part, { source }) =>
    typeof part === 'number' && source !== undefined ? precise.rawJSON(source) : part,
  );
  invariant(isObject(value), 'the text was an object before');
  return value;
}

function readText(path: string, area: string): string {
  try {
    if (statSync(path).size > MAXIMUM_BYTES) {
      throw new UserError(`${area}/unreadable`, `${path} is larger than 100 MB, which no such file is.`);
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    if (error instanceof UserError) throw error;
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      const hint = `Choose the folder that holds ${basename(path)}, or copy the file there.`;
      throw new UserError(`${area}/missing`, `${path} does not exist.`, hint, { cause: error });
    }
    const reason =
      code === 'EISDIR'
        ? 'it is a folder'
        : code === 'ERR_ENCODING_INVALID_ENCODED_DATA'
          ? 'it is not UTF-8 text'
          : code;
    if (reason === undefined) throw error;
    throw new UserError(`${area}/unreadable`, `${path} cannot be read: ${reason}.`, undefined, {
      cause: error,
    });
  }
}

/**
 * The first key that occurs twice in one object of a valid JSON text, which `JSON.parse` would silently merge.
 * @param json text that `JSON.parse` accepts
 */
export function findDuplicateKey(json: string): string | undefined {
  const open: Set<string>[] = []; // the keys of each open object; of each open array, an empty set
  for (let i = 0; i < json.length; i++) {
    const character = json[i];
    if (character === '{' || character === '[') open.push(new Set());
    else if (character === '}' || character === ']') open.pop();
    else if (character === '"') {
      const begin = i;
      do {
        i = json.indexOf('"', i + 1);
      } while (isEscaped(json, i));
      if (!/^\s*:/.test(json.slice(i + 1, i + 65))) continue;
      const key = JSON.parse(json.slice(begin, i + 1)) as string;
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

/** Whether the character at `index` follows an odd number of backslashes. */
function isEscaped(json: string, index: number): boolean {
  let backslashes = 0;
  while (json[index - 1 - backslashes] === '\\') backslashes++;
  return backslashes % 2 === 1;
}
