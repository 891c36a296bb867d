import { UserError, invariant } from '#core/contract/errors.ts';
import { DTYPE_BYTES, isDtype, type Dtype } from './dtype.ts';
import { findDuplicateKey, isObject } from './json-file.ts';

/** Where a tensor lies. `begin` and `end` are byte positions in `file` (its path). */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly file: string;
  readonly begin: number;
  readonly end: number;
}

/** A header's content; the data begin right after it. */
export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A limit of the format, kept by the reference reader as well. */
const MAXIMUM_HEADER_BYTES = 100_000_000;

/** The length field before the header: an unsigned 64-bit little-endian integer. */
export const LENGTH_BYTES = 8;

/** Bytes of a tensor; not a safe integer when the dimensions are absurd. */
export function tensorBytes(dtype: Dtype, shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1) * DTYPE_BYTES[dtype];
}

/**
 * Checks the length field against the file.
 * @returns bytes of the header
 * @throws UserError `safetensors/truncated` or `/header-too-large`
 */
export function parseHeaderLength(field: Uint8Array, fileBytes: number, file: string): number {
  invariant(field.byteLength === LENGTH_BYTES, 'the length field has 8 bytes');
  const length = new DataView(field.buffer, field.byteOffset).getBigUint64(0, true);
  if (length > BigInt(MAXIMUM_HEADER_BYTES)) {
    throw new UserError(
      'safetensors/header-too-large',
      `${file}: the header claims ${length} bytes; the format allows ${MAXIMUM_HEADER_BYTES}.`,
      'This is not a safetensors file, or it is damaged.',
    );
  }
  if (Number(length) > fileBytes - LENGTH_BYTES)
    throw truncated(file, LENGTH_BYTES + Number(length), fileBytes);
  return Number(length);
}

/** The error of a file that ends before its tensors do; sizes in bytes. */
export function truncated(file: string, expected: number, actual: number): UserError {
  return new UserError(
    'safetensors/truncated',
    `${file} is cut off: it should have at least ${expected} bytes but has ${actual}.`,
    'Download or copy the file again.',
  );
}

/**
 * Reads a header: JSON in UTF-8 that maps each tensor to dtype, shape and its byte range in the data, and
 * `__metadata__` to texts. The ranges must fill the data without overlap, gap or rest, as the format demands.
 * @param bytes the header without the length field
 * @param fileBytes size of the whole file
 * @throws UserError `safetensors/…` naming the file and, where there is one, the tensor
 */
export function parseHeader(bytes: Uint8Array, fileBytes: number, file: string): SafetensorsHeader {
  const json = parseJson(bytes, file);
  const dataBegin = LENGTH_BYTES + bytes.byteLength;
  const tensors: TensorEntry[] = [];
  let metadata: Readonly<Record<string, string>> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') metadata = parseMetadata(value, file);
    else tensors.push(parseEntry(name, value, dataBegin, file));
  }
  checkLayout(tensors, dataBegin, fileBytes, file);
  return { tensors: new Map(tensors.map((entry) => [entry.name, entry])), metadata };
}

function parseJson(bytes: Uint8Array, file: string): Readonly<Record<string, unknown>> {
  const fail = (reason: string): UserError =>
    new UserError(
      'safetensors/header-invalid',
      `${file}: the header ${reason}.`,
      'This is not a safetensors file, or it is damaged.',
    );
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw fail('is not UTF-8 text');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw fail('is not JSON');
  }
  if (!isObject(value) || !text.startsWith('{')) throw fail('is not a JSON object');
  const duplicate = findDuplicateKey(text);
  if (duplicate !== undefined) {
    throw new UserError(
      'safetensors/duplicate',
      `${file}: the header holds ${JSON.stringify(duplicate)} twice.`,
      'Save the file again with unique tensor names.',
    );
  }
  return value;
}

function parseMetadata(value: unknown, file: string): Readonly<Record<string, string>> {
  const metadata: Record<string, string> = Object.create(null) as Record<string, string>;
  const entries = isObject(value) ? Object.entries(value) : undefined;
  for (const [key, text] of entries ?? [['', undefined]]) {
    if (typeof text !== 'string') {
      throw new UserError('safetensors/metadata', `${file}: __metadata__ must map names to texts.`);
    }
    metadata[key] = text;
  }
  return metadata;
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

function parseEntry(name: string, value: unknown, dataBegin: number, file: string): TensorEntry {
  const fail = (
    code: string,
    reason: string,
    hint = 'The file is damaged: download or save it again.',
  ): UserError =>
    new UserError(`safetensors/${code}`, `${file}: tensor ${JSON.stringify(name)}: ${reason}.`, hint);
  if (!isObject(value)) throw fail('entry', 'its description is not an object');
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !isDtype(dtype)) {
    throw fail(
      'dtype',
      `unknown element type ${JSON.stringify(dtype)}`,
      `Known types: ${Object.keys(DTYPE_BYTES).join(', ')}.`,
    );
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw fail('shape', `the shape ${JSON.stringify(shape)} must be a list of whole numbers from 0`);
  }
  const [begin, end, ...rest] = Array.isArray(offsets) ? (offsets as readonly unknown[]) : [];
  if (!isCount(begin) || !isCount(end) || begin > end || rest.length > 0) {
    throw fail(
      'offsets',
      `data_offsets ${JSON.stringify(offsets)} must be [begin, end] with 0 <= begin <= end`,
    );
  }
  const bytes = tensorBytes(dtype, shape);
  if (bytes !== end - begin) {
    throw fail(
      'size',
      `shape [${shape.join(', ')}] of ${dtype} needs ${bytes} bytes, its range has ${end - begin}`,
    );
  }
  return { name, dtype, shape, file, begin: dataBegin + begin, end: dataBegin + end };
}

function checkLayout(
  tensors: readonly TensorEntry[],
  dataBegin: number,
  fileBytes: number,
  file: string,
): void {
  const inOrder = tensors.toSorted((a, b) => a.begin - b.begin || a.end - b.end);
  let position = dataBegin;
  for (const { name, begin, end } of inOrder) {
    if (begin !== position) {
      throw new UserError(
        begin < position ? 'safetensors/overlap' : 'safetensors/gap',
        `${file}: tensor ${JSON.stringify(name)} begins at byte ${begin}, but the tensor before it ends at ${position}.`,
        'The file is damaged: download or save it again.',
      );
    }
    position = end;
  }
  if (position > fileBytes) throw truncated(file, position, fileBytes);
  if (position < fileBytes) {
    throw new UserError(
      'safetensors/trailing-bytes',
      `${file} has ${fileBytes - position} bytes after its last tensor.`,
      'The file is damaged: download or save it again.',
    );
  }
}

/** A tensor to be written, without its data. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/**
 * The order in which tensors are laid out: by element size, largest first, so that each begins at a multiple of its
 * element size; then by name, so that equal content gives equal files.
 */
export function byLayout(a: TensorInfo, b: TensorInfo): number {
  return DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype] || (a.name < b.name ? -1 : 1);
}

/** Length field and header for tensors laid out in the given order, padded with spaces to a multiple of 8. */
export function formatHeader(
  tensors: readonly TensorInfo[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const header = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) header.set('__metadata__', metadata);
  let position = 0;
  for (const { name, dtype, shape } of tensors) {
    invariant(name !== '__metadata__' && !header.has(name), `safetensors: tensor name ${name} is taken`);
    const end = position + tensorBytes(dtype, shape);
    invariant(
      Number.isSafeInteger(end),
      `safetensors: tensor ${name} has an impossible shape [${shape.join(', ')}]`,
    );
    header.set(name, { dtype, shape, data_offsets: [position, end] });
    position = end;
  }
  // Joined by hand: an object literal would reorder names that look like integers.
  const json = `{${[...header].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`;
  const text = new TextEncoder().encode(json);
  const bytes = new Uint8Array(LENGTH_BYTES + Math.ceil(text.length / 8) * 8).fill(0x20);
  invariant(
    bytes.length - LENGTH_BYTES <= MAXIMUM_HEADER_BYTES,
    'safetensors: too many tensors for one header',
  );
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - LENGTH_BYTES), true);
  bytes.set(text, LENGTH_BYTES);
  return bytes;
}
