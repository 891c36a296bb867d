/**
 * Tokenized examples of one data file on disk, named by the hash of everything they depend on.
 *
 * Layout, little-endian: 8 bytes magic; one u32 per token (bit 31 = trained, the rest the id); per example u32 length, u32 trained
 * tokens, u32 source row, f64 content hash (four arrays in this order); JSON footer; u32 length of the footer; SHA-256 of all before.
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { Finding } from '#core/contract/dataset.ts';
import { UserError, invariant } from '#core/contract/errors.ts';
import { IGNORED } from './processor.ts';
import type { Example } from './processor.ts';
import { readBlocks } from './sources/source-row.ts';

const MAGIC = Buffer.from('CNDTOK1\n', 'latin1');
const DIGEST_BYTES = 32;
const TRAINED = 0x80000000;
const BYTES_PER_EXAMPLE = 4 + 4 + 4 + 8;

const Footer = z.object({
  key: z.string(),
  examples: z.int(),
  tokens: z.int(),
  rows: z.int(),
  truncatedRows: z.int(),
  longest: z.int(),
  findings: z.array(Finding),
});
type Footer = z.infer<typeof Footer>;

/** What scanning the file found, kept so that a cached file need not be read again. */
export type ScanSummary = Omit<Footer, 'key' | 'examples' | 'tokens'>;

/** An example as it lies in a cache. */
export interface StoredExample {
  readonly ids: Int32Array;
  /** −100 = not trained. */
  readonly labels: Int32Array;
  readonly trainedCount: number;
}

/** A tokenized file: sizes in memory, tokens on disk. */
export interface TokenCache {
  readonly lengths: Uint32Array;
  readonly trainedCounts: Uint32Array;
  /** 1-based source row of each example. */
  readonly rows: Uint32Array;
  /** 53-bit hash of each example's content. */
  readonly hashes: Float64Array;
  readonly summary: ScanSummary;
  read(example: number): StoredExample;
  close(): void;
}

/** A growing list of numbers without a JavaScript object per entry. */
class NumberList<T extends Uint32Array | Float64Array> {
  #values: T;
  #length = 0;
  readonly #make: (length: number) => T;

  constructor(make: (length: number) => T) {
    this.#make = make;
    this.#values = make(1024);
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const grown = this.#make(2 * this.#length);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.#length++] = value;
  }

  bytes(): Uint8Array {
    const { buffer, byteOffset, BYTES_PER_ELEMENT } = this.#values;
    return new Uint8Array(buffer, byteOffset, this.#length * BYTES_PER_ELEMENT);
  }

  get length(): number {
    return this.#length;
  }
}

/** Writes a cache file an example at a time; it gets its name only when complete. */
export class TokenCacheWriter {
  readonly #file: string;
  readonly #partial: string;
  readonly #handle: FileHandle;
  readonly #hash = createHash('sha256');
  readonly #lengths = new NumberList((length) => new Uint32Array(length));
  readonly #trainedCounts = new NumberList((length) => new Uint32Array(length));
  readonly #rows = new NumberList((length) => new Uint32Array(length));
  readonly #hashes = new NumberList((length) => new Float64Array(length));
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #tokens = 0;

  private constructor(file: string, partial: string, handle: FileHandle) {
    this.#file = file;
    this.#partial = partial;
    this.#handle = handle;
  }

  static async create(file: string): Promise<TokenCacheWriter> {
    await mkdir(path.dirname(file), { recursive: true });
    const partial = `${file}.${process.pid}.partial`;
    const writer = new TokenCacheWriter(file, partial, await open(partial, 'w'));
    await writer.#write(MAGIC);
    return writer;
  }

  async add(example: Example, row: number, contentHash: number): Promise<void> {
    const words = new Uint32Array(example.ids.length);
    for (const [index, id] of example.ids.entries()) {
      words[index] = example.labels[index] === IGNORED ? id : (id | TRAINED) >>> 0;
    }
    this.#lengths.push(words.length);
    this.#trainedCounts.push(example.trainedCount);
    this.#rows.push(row);
    this.#hashes.push(contentHash);
    this.#tokens += words.length;
    await this.#write(new Uint8Array(words.buffer));
  }

  async finish(key: string, summary: ScanSummary): Promise<void> {
    for (const list of [this.#lengths, this.#trainedCounts, this.#rows, this.#hashes]) {
      await this.#write(list.bytes());
    }
    const footer: Footer = { key, examples: this.#lengths.length, tokens: this.#tokens, ...summary };
    const json = Buffer.from(JSON.stringify(footer));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(json.length);
    await this.#write(json);
    await this.#write(length);
    await this.#flush();
    await this.#handle.write(this.#hash.digest());
    await this.#handle.sync();
    await this.#handle.close();
    await rename(this.#partial, this.#file);
  }

  /** Gives up: nothing is left on disk. */
  async discard(): Promise<void> {
    await this.#handle.close();
    await rm(this.#partial, { force: true });
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes >= 1 << 20) await this.#flush();
  }

  async #flush(): Promise<void> {
    const block = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#hash.update(block);
    for (let at = 0; at < block.length;) at += (await this.#handle.write(block, at)).bytesWritten;
  }
}

/** Reads exactly the bytes asked for; undefined at the end of the file. */
async function readExactly(
  handle: FileHandle,
  position: number,
  length: number,
): Promise<Buffer | undefined> {
  const bytes = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, position + filled);
    if (bytesRead === 0) return undefined;
    filled += bytesRead;
  }
  return bytes;
}

async function digestOf(handle: FileHandle, length: number): Promise<Buffer> {
  const hash = createHash('sha256');
  let left = length;
  for await (const block of readBlocks(handle)) {
    hash.update(block.subarray(0, left));
    left -= Math.min(left, block.length);
    if (left === 0) break;
  }
  return hash.digest();
}

/** `missing`: no such file. `damaged`: cut short, altered, or of another version; to be built again. */
export async function openTokenCache(file: string, key: string): Promise<TokenCache | 'missing' | 'damaged'> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'missing';
    throw error;
  }
  try {
    const { size } = await handle.stat();
    const end = size - DIGEST_BYTES;
    if (end < MAGIC.length + 4) return 'damaged';
    const head = await readExactly(handle, 0, MAGIC.length);
    const digest = await readExactly(handle, end, DIGEST_BYTES);
    if (!head?.equals(MAGIC) || !digest?.equals(await digestOf(handle, end))) return 'damaged';
    const jsonLength = (await readExactly(handle, end - 4, 4))?.readUInt32LE() ?? 0;
    const json = await readExactly(handle, end - 4 - jsonLength, jsonLength);
    const footer = Footer.parse(JSON.parse(json?.toString('utf8') ?? ''));
    if (footer.key !== key) return 'damaged';
    const tableBytes = footer.examples * BYTES_PER_EXAMPLE;
    const table = await readExactly(handle, MAGIC.length + 4 * footer.tokens, tableBytes);
    invariant(table !== undefined, 'a checksummed token cache holds its table');
    return new OpenTokenCache(file, footer, table);
  } finally {
    await handle.close();
  }
}

class OpenTokenCache implements TokenCache {
  readonly lengths: Uint32Array;
  readonly trainedCounts: Uint32Array;
  readonly rows: Uint32Array;
  readonly hashes: Float64Array;
  readonly summary: ScanSummary;
  readonly #file: string;
  readonly #descriptor: number;
  /** First token of each example. */
  readonly #starts: Float64Array;

  constructor(file: string, footer: Footer, table: Buffer) {
    const count = footer.examples;
    const column = (index: number) => table.subarray(4 * count * index, 4 * count * (index + 1));
    this.lengths = new Uint32Array(Uint8Array.from(column(0)).buffer);
    this.trainedCounts = new Uint32Array(Uint8Array.from(column(1)).buffer);
    this.rows = new Uint32Array(Uint8Array.from(column(2)).buffer);
    this.hashes = new Float64Array(Uint8Array.from(table.subarray(12 * count)).buffer);
    this.summary = footer;
    this.#starts = new Float64Array(count);
    let tokens = 0;
    for (const [index, length] of this.lengths.entries()) {
      this.#starts[index] = tokens;
      tokens += length;
    }
    this.#file = file;
    this.#descriptor = openSync(file, 'r');
  }

  read(example: number): StoredExample {
    const length = this.lengths[example];
    invariant(length !== undefined, `example ${example} of ${this.lengths.length} in a token cache`);
    const words = new Uint32Array(length);
    const position = MAGIC.length + 4 * (this.#starts[example] ?? 0);
    const read = readSync(this.#descriptor, words, 0, words.byteLength, position);
    if (read !== words.byteLength) {
      throw new UserError(
        'data/cache-damaged',
        `${this.#file} was cut short while it was in use`,
        'Resume the run: the file is rebuilt from the data.',
      );
    }
    const ids = new Int32Array(length);
    const labels = new Int32Array(length);
    let trainedCount = 0;
    for (const [index, word] of words.entries()) {
      const id = word & ~TRAINED;
      const trained = word >= TRAINED;
      ids[index] = id;
      labels[index] = trained ? id : IGNORED;
      if (trained) trainedCount += 1;
    }
    return { ids, labels, trainedCount };
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
