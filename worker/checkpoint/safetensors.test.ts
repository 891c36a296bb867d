import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import { readSafetensors, writeSafetensors, type NamedTensor } from './index.ts';
import { temporaryFolder } from './temporary-folder.fixture.ts';

const bytesOf = (array: Float32Array | BigInt64Array | Uint16Array): Uint8Array =>
  new Uint8Array(array.buffer);

const TENSORS: readonly NamedTensor[] = [
  { name: 'weight', dtype: 'F32', shape: [2, 3], data: bytesOf(Float32Array.of(1, 2, 3, 4, 5, 6)) },
  { name: 'mask', dtype: 'BOOL', shape: [3], data: Uint8Array.of(1, 0, 1) },
  { name: 'ids', dtype: 'I64', shape: [2], data: () => bytesOf(BigInt64Array.of(7n, -7n)) },
  { name: 'half', dtype: 'BF16', shape: [1], data: bytesOf(Uint16Array.of(0x3f80)) },
  { name: 'scalar', dtype: 'F32', shape: [], data: bytesOf(Float32Array.of(0.5)) },
  { name: 'empty', dtype: 'F32', shape: [0, 4], data: new Uint8Array(0) },
  { name: '7', dtype: 'U8', shape: [1], data: Uint8Array.of(9) },
];

/** A file with the given header (an object, or text as it is) and `dataBytes` bytes of data. */
function fileWith(header: unknown, dataBytes: number, length?: bigint): string {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const json = Buffer.from(text, 'latin1');
  const field = Buffer.alloc(8);
  field.writeBigUInt64LE(length ?? BigInt(json.length));
  const file = join(temporaryFolder(), 'x.safetensors');
  writeFileSync(file, Buffer.concat([field, json, Buffer.alloc(dataBytes)]));
  return file;
}

/** Expects a UserError that names the file, and the tensor where one is given. */
function expectRefused(file: string, code: string, tensor = ''): void {
  let thrown: unknown;
  try {
    readSafetensors(file).close();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(UserError);
  expect(thrown).toMatchObject({ code: `safetensors/${code}` });
  expect(String(thrown)).toContain(file);
  expect(String(thrown)).toContain(tensor);
}

const F32 = (begin: number, end: number, shape: readonly unknown[] = [(end - begin) / 4]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

test('what is written is read back: every tensor, metadata, odd names and shapes', () => {
  const path = join(temporaryFolder(), 'a.safetensors');
  const digest = writeSafetensors(path, TENSORS, { metadata: { format: 'pt', note: 'ü' } });
  expect(digest).toMatchObject({ name: 'a.safetensors', bytes: statSync(path).size });
  const file = readSafetensors(path);
  expect({ ...file.metadata }).toEqual({ format: 'pt', note: 'ü' });
  expect([...file.tensors.keys()].sort()).toEqual(TENSORS.map(({ name }) => name).sort());
  for (const { name, dtype, shape, data } of TENSORS) {
    expect(file.tensors.get(name)).toMatchObject({ name, dtype, shape, file: path });
    expect(file.read(name)).toEqual(typeof data === 'function' ? data() : data);
  }
  file.close();
});

test('data are aligned to their element size, and equal content gives equal bytes', () => {
  const folder = temporaryFolder();
  writeSafetensors(join(folder, 'a'), TENSORS);
  writeSafetensors(join(folder, 'b'), TENSORS.toReversed());
  expect(readFileSync(join(folder, 'a')).equals(readFileSync(join(folder, 'b')))).toBe(true);
  const file = readSafetensors(join(folder, 'a'));
  expect(file.tensors.get('ids')).toMatchObject({
    begin: expect.toSatisfy((at: number) => at % 8 === 0) as number,
  });
  expect(file.tensors.get('weight')).toMatchObject({
    begin: expect.toSatisfy((at: number) => at % 4 === 0) as number,
  });
  file.close();
});

test('readInto fills part of a larger shared buffer, whole tensors or a range', () => {
  const path = join(temporaryFolder(), 'a.safetensors');
  writeSafetensors(path, TENSORS);
  const file = readSafetensors(path);
  const arena = new SharedArrayBuffer(64);
  file.readInto('weight', new Uint8Array(arena, 8, 24));
  expect([...new Float32Array(arena, 4, 8)]).toEqual([0, 1, 2, 3, 4, 5, 6, 0]);
  file.readInto('weight', new Uint8Array(arena, 40, 8), 12);
  expect([...new Float32Array(arena, 40, 2)]).toEqual([4, 5]);
  expect(() => file.readInto('weight', new Uint8Array(23))).toThrow('24 bytes');
  expect(() => file.readInto('weight', new Uint8Array(8), 20)).toThrow('24 bytes');
  expect(() => file.readInto('nothing', new Uint8Array(0))).toThrow('no tensor nothing');
  file.close();
  expect(() => file.read('weight')).toThrow('closed');
});

test('a file that shrinks after it was opened is reported as cut off', () => {
  const path = join(temporaryFolder(), 'a.safetensors');
  writeSafetensors(path, TENSORS);
  const file = readSafetensors(path);
  truncateSync(path, file.bytes - 1);
  expect(() => [...file.tensors.keys()].forEach((name) => file.read(name))).toThrow(
    expect.objectContaining({ code: 'safetensors/truncated' }),
  );
  file.close();
});

test('a missing, empty, short or cut-off file, a folder and a pipe are refused', () => {
  expect.hasAssertions();
  const folder = temporaryFolder();
  expectRefused(join(folder, 'none'), 'missing');
  expectRefused(folder, 'not-a-file');
  writeFileSync(join(folder, 'empty'), '');
  expectRefused(join(folder, 'empty'), 'empty');
  writeFileSync(join(folder, 'short'), 'abc');
  expectRefused(join(folder, 'short'), 'truncated');
  writeSafetensors(join(folder, 'cut'), TENSORS);
  truncateSync(join(folder, 'cut'), statSync(join(folder, 'cut')).size - 1);
  expectRefused(join(folder, 'cut'), 'truncated');
  if (process.platform !== 'win32') {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    expectRefused(join(folder, 'pipe'), 'not-a-file');
  }
});

test('a header length beyond the file or beyond 100 MB is refused before anything is read', () => {
  expect.hasAssertions();
  expectRefused(fileWith({}, 0, 3n), 'truncated');
  expectRefused(fileWith({}, 0, 100_000_001n), 'header-too-large');
  expectRefused(fileWith({}, 0, 2n ** 64n - 1n), 'header-too-large');
});

test('a header that is not UTF-8, not JSON or not an object is refused', () => {
  expect.hasAssertions();
  expectRefused(fileWith('{"\xff": 1}', 0), 'header-invalid');
  expectRefused(fileWith('{"a"', 0), 'header-invalid');
  expectRefused(fileWith('', 0), 'header-invalid');
  expectRefused(fileWith('[]', 0), 'header-invalid');
  expectRefused(fileWith('null', 0), 'header-invalid');
  expectRefused(fileWith(' {}', 0), 'header-invalid');
});

test('duplicate names are refused, also when spelled with escapes', () => {
  expect.hasAssertions();
  const entry = JSON.stringify(F32(0, 4));
  expectRefused(fileWith(`{"a":${entry},"a":${entry}}`, 4), 'duplicate', '"a"');
  expectRefused(fileWith(`{"a\\"{":${entry},"\\u0061\\"{" :${entry}}`, 4), 'duplicate');
  expectRefused(
    fileWith('{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
    'duplicate',
    'dtype',
  );
});

test('a description that does not fit is refused and the tensor named', () => {
  expect.hasAssertions();
  const refused = (entry: unknown, code: string): void =>
    expectRefused(fileWith({ w: entry }, 8), code, '"w"');
  refused(7, 'entry');
  refused({ ...F32(0, 8), dtype: 'F31' }, 'dtype');
  refused({ ...F32(0, 8), dtype: 'toString' }, 'dtype');
  refused({ ...F32(0, 8), dtype: 4 }, 'dtype');
  for (const shape of [undefined, 2, '2', [-1, -2], [1.5], ['2'], [null], [2 ** 60]]) {
    refused({ ...F32(0, 8), shape }, 'shape');
  }
  for (const offsets of [undefined, 8, [0], [0, 8, 8], [8, 0], [-8, 0], [0, 8.5], ['0', 8], [0, 2 ** 60]]) {
    refused({ ...F32(0, 8), data_offsets: offsets }, 'offsets');
  }
  refused(F32(0, 8, [3]), 'size');
  refused(F32(0, 8, [2 ** 40, 2 ** 40]), 'size');
  expectRefused(fileWith({ __metadata__: { a: 1 } }, 0), 'metadata');
  expectRefused(fileWith({ __metadata__: [] }, 0), 'metadata');
});

test('ranges must fill the data: no overlap, gap, rest or end outside', () => {
  expect.hasAssertions();
  expectRefused(fileWith({ a: F32(0, 8), b: F32(4, 12) }, 12), 'overlap', '"b"');
  expectRefused(fileWith({ a: F32(0, 8), b: F32(0, 8) }, 8), 'overlap', '"b"');
  expectRefused(fileWith({ a: F32(0, 4), b: F32(8, 12) }, 12), 'gap', '"b"');
  expectRefused(fileWith({ a: F32(0, 8) }, 9), 'trailing-bytes');
  expectRefused(fileWith({ a: F32(0, 8) }, 7), 'truncated');
  readSafetensors(fileWith({}, 0)).close();
  readSafetensors(
    fileWith({ b: F32(0, 0), a: F32(0, 8), c: F32(8, 8), ['__proto__']: F32(8, 12) }, 12),
  ).close();
});

test.skipIf(process.platform !== 'linux')('a refused file is closed again', () => {
  const file = fileWith({ a: F32(0, 8) }, 7);
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  for (let i = 0; i < 20; i++) expectRefused(file, 'truncated');
  expect(descriptors()).toBeLessThan(before + 10);
});

test('a folder in place of the target is an error of the system, not a crash', () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'x'));
  expect(() => writeSafetensors(join(folder, 'x'), TENSORS)).toThrow('EISDIR');
  expect(() =>
    writeSafetensors(join(folder, 'y'), [{ ...(TENSORS[0] as NamedTensor), data: new Uint8Array(3) }]),
  ).toThrow('weight: 3 bytes given, its shape needs 24');
  expect(() => writeSafetensors(join(folder, 'y'), [...TENSORS, ...TENSORS])).toThrow('is taken');
});
