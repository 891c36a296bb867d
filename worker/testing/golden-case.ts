/** Golden cases: a folder with `case.json`, a tiny model, inputs and what the reference implementation computed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invariant } from '#core/contract/errors.ts';
import {
  decodeFloats,
  isFloatDtype,
  readSafetensors,
  type SafetensorsFile,
} from '#worker/checkpoint/index.ts';
import type { LoadRequest } from '#worker/train/index.ts';

/** One comparison: the largest differences and the limit that decides. */
export interface Check {
  readonly name: string;
  readonly maxAbs: number;
  readonly maxRel: number;
  readonly limit: number;
  readonly ok: boolean;
  /** The same with the limit of float16, relative to the largest expected value; absent: there is no other limit. */
  readonly withFloat16?: Pick<Check, 'limit' | 'ok'>;
}

/** How far results may be from those of a reference where frozen weights are float16. */
const FLOAT16_LIMIT = 2e-2;

/** The outcome of one case. */
export interface CaseResult {
  readonly case: string;
  readonly ok: boolean;
  /** Why the case cannot be run; then there are no checks and it counts as failed. */
  readonly unsupported?: string;
  readonly checks: readonly Check[];
}

/** What a case is computed on. */
export type Computing = Pick<LoadRequest, 'provider' | 'deviceWeights'>;

/** A tensor of a case, converted for comparison. */
export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array | Int32Array;
}

/** The tensors of one file of a case. */
export class GoldenTensors {
  readonly #file: SafetensorsFile;

  constructor(path: string) {
    this.#file = readSafetensors(path);
  }

  get names(): string[] {
    return [...this.#file.tensors.keys()];
  }

  has(name: string): boolean {
    return this.#file.tensors.has(name);
  }

  /** @throws InvariantError when the case lacks the tensor. */
  get(name: string): GoldenTensor {
    const entry = this.#file.tensors.get(name);
    invariant(entry !== undefined, `${this.#file.file} has no tensor ${name}`);
    const bytes = new Uint8Array(entry.end - entry.begin);
    this.#file.readInto(name, bytes);
    if (entry.dtype === 'I64') {
      return { shape: entry.shape, values: Int32Array.from(new BigInt64Array(bytes.buffer), Number) };
    }
    invariant(isFloatDtype(entry.dtype), `${name} is ${entry.dtype}`);
    return { shape: entry.shape, values: decodeFloats(bytes, entry.dtype) };
  }

  floats(name: string): Float32Array {
    const { values } = this.get(name);
    invariant(values instanceof Float32Array, `${name} holds integers`);
    return values;
  }

  integers(name: string): Int32Array {
    const { values } = this.get(name);
    invariant(values instanceof Int32Array, `${name} holds floats`);
    return values;
  }
}

/** `case.json`, whose fields differ by kind. */
export type CaseDocument = Readonly<Record<string, unknown>> & {
  readonly kind: string;
  readonly family?: string | null;
  readonly method?: string;
};

/** Reads `case.json`. */
export function readCase(dir: string): CaseDocument {
  return JSON.parse(readFileSync(join(dir, 'case.json'), 'utf8')) as CaseDocument;
}

/** Largest absolute difference, and largest relative to the expected value, over the positions that count. */
function differences(
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  counts: (index: number) => boolean = () => true,
): { readonly maxAbs: number; readonly maxRel: number } {
  invariant(got.length === want.length, `compared ${got.length} values with ${want.length}`);
  let maxAbs = 0;
  let maxRel = 0;
  for (let i = 0; i < want.length; i++) {
    if (!counts(i)) continue;
    const difference = Math.abs((got[i] as number) - (want[i] as number));
    const size = Math.abs(want[i] as number);
    if (Number.isNaN(difference)) return { maxAbs: NaN, maxRel: NaN };
    maxAbs = Math.max(maxAbs, difference);
    if (difference > 0) maxRel = Math.max(maxRel, difference / Math.max(size, 1e-30));
  }
  return { maxAbs, maxRel };
}

/** What a difference is beside a limit; one of 0 asks for equality, whatever the weights are. */
export function limited(
  difference: number,
  limit: number,
  scale: number,
): Pick<Check, 'limit' | 'ok' | 'withFloat16'> {
  const ok = difference <= limit;
  if (limit === 0) return { limit, ok };
  const wide = Math.max(limit, FLOAT16_LIMIT * scale);
  return { limit, ok, withFloat16: { limit: wide, ok: difference <= wide } };
}

/** A check on the largest absolute difference. NaN fails. */
export function absoluteCheck(
  name: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  limit: number,
  counts?: (index: number) => boolean,
): Check {
  const { maxAbs, maxRel } = differences(got, want, counts);
  const largest = Array.from(want).reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  return { name, maxAbs, maxRel, ...limited(maxAbs, limit, largest) };
}

/** A check on the largest relative difference. NaN fails. */
export function relativeCheck(
  name: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  limit: number,
  counts?: (index: number) => boolean,
): Check {
  const { maxAbs, maxRel } = differences(got, want, counts);
  return { name, maxAbs, maxRel, ...limited(maxRel, limit, 1) };
}

/** A check that two lists of numbers are equal. */
export function equalCheck(name: string, got: ArrayLike<number>, want: ArrayLike<number>): Check {
  const same = got.length === want.length && Array.from(got).every((value, i) => value === want[i]);
  const { maxAbs, maxRel } =
    got.length === want.length ? differences(got, want) : { maxAbs: Infinity, maxRel: Infinity };
  return { name, maxAbs, maxRel, limit: 0, ok: same };
}
