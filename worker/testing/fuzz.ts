/** Seeded hostile input for the readers of model folders: each input is read, or refused with a UserError. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError, invariant } from '#core/contract/errors.ts';
import { withTemporaryFolder } from '#core/process/temporary-folder.ts';
import { SafetensorsFile, writeSafetensors } from '#worker/checkpoint/index.ts';
import { openTokenizer } from '#worker/data/index.ts';
import { familyOf } from '#worker/families/index.ts';
import { parametersOf } from '#worker/model/index.ts';
import { philox } from '#worker/random/index.ts';

/** An input may take so long; a reader that takes longer hangs for its user. */
const SLOWEST_MS = 5000;

/** What became of the inputs of one reader. */
export interface FuzzResult {
  readonly reader: string;
  readonly read: number;
  readonly refused: number;
}

type Below = (n: number) => number;

/** Whole numbers below `n`, the same in every run for a seed and round. */
function numbers(seed: number, round: number): Below {
  let drawn = 0;
  return (n) => philox(seed, drawn++, round)[0] % n;
}

const oddTexts = ['0', '-1', '1e308', '9999999999999999999', '"F64"', '[]', '{}', 'null', '"', '{', '}', ','];
const oddValues: readonly unknown[] = [
  null,
  0,
  -1,
  0.5,
  1e9,
  1e308,
  2 ** 53,
  '',
  'sigmoid',
  '\u0000',
  true,
  [],
  [[]],
  {},
];

/** A copy of `bytes` with up to three edits before `end`. */
function mutateBytes(bytes: Buffer, end: number, below: Below): Buffer {
  let mutated = Buffer.from(bytes);
  for (let edits = 1 + below(3); edits > 0; edits--) {
    const at = below(Math.max(1, Math.min(end, mutated.length)));
    const rest = (from: number) => mutated.subarray(at + from);
    const text = Buffer.from(oddTexts[below(oddTexts.length)] ?? '');
    switch (below(4)) {
      case 0:
        mutated[at] = below(256);
        break;
      case 1:
        mutated = Buffer.concat([mutated.subarray(0, at), rest(1 + below(8))]);
        break;
      case 2:
        mutated = mutated.subarray(0, below(mutated.length + 1));
        break;
      default:
        mutated = Buffer.concat([mutated.subarray(0, at), text, rest(below(2) * text.length)]);
    }
  }
  return mutated;
}

/**
 * A copy of a JSON value in which up to three values are gone, odd, or another of the document's. Only what holds them is copied,
 * the rest is shared: a vocabulary takes longer to copy than to read.
 */
function mutateValue(value: unknown, below: Below): unknown {
  let copy = value;
  for (let edits = 1 + below(3); edits > 0; edits--) copy = withEdit(copy, below);
  return copy;
}

function withEdit(value: unknown, below: Below): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const holder = (Array.isArray(value) ? [...(value as unknown[])] : { ...value }) as Record<string, unknown>;
  const keys = Object.keys(holder);
  const key = keys[below(Math.max(1, keys.length))];
  if (key === undefined) return value;
  const inner = holder[key];
  if (typeof inner === 'object' && inner !== null && below(4) > 0) {
    holder[key] = withEdit(inner, below);
    return holder;
  }
  const kind = below(4);
  if (kind === 0) Reflect.deleteProperty(holder, key);
  else if (kind === 1) holder[key] = holder[keys[below(keys.length)] ?? key];
  else holder[key] = oddValues[below(oddValues.length)];
  return holder;
}

/** Reads `count` inputs; anything but success or a UserError, in time, is thrown with the round that shows it again. */
async function fuzz(
  reader: string,
  seed: number,
  count: number,
  read: (below: Below) => Promise<void> | void,
): Promise<FuzzResult> {
  let refused = 0;
  for (let round = 0; round < count; round++) {
    const started = performance.now();
    try {
      await read(numbers(seed, round));
    } catch (error) {
      if (!(error instanceof UserError)) {
        throw new Error(`${reader}, seed ${seed}, round ${round}: ${String(error)}`, { cause: error });
      }
      refused++;
    }
    const took = performance.now() - started;
    if (took > SLOWEST_MS)
      throw new Error(`${reader}, seed ${seed}, round ${round}: took ${Math.round(took)} ms`);
  }
  return { reader, read: count - refused, refused };
}

/** Mutated safetensors files: header, length field, data. */
export function fuzzSafetensors(seed: number, count: number): Promise<FuzzResult> {
  return withTemporaryFolder('fuzz', async (folder) => {
    const path = join(folder, 'x.safetensors');
    const f32 = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
    writeSafetensors(
      path,
      [
        { name: 'a', dtype: 'F32', shape: [2, 2], data: f32(1, 2, 3, 4) },
        { name: 'b.c', dtype: 'BF16', shape: [3], data: new Uint8Array(6) },
        { name: 'empty', dtype: 'F32', shape: [0, 4], data: new Uint8Array() },
      ],
      { metadata: { format: 'pt' } },
    );
    const original = readFileSync(path);
    const headerEnd = 8 + Number(original.readBigUInt64LE());
    return fuzz('safetensors', seed, count, (below) => {
      const bytes = mutateBytes(original, headerEnd, below);
      // Half of the time with a length that fits, so that the header itself is looked at.
      const grown = headerEnd - 8 + bytes.length - original.length;
      if (below(2) === 0 && bytes.length >= 8 && grown >= 0) bytes.writeBigUInt64LE(BigInt(grown));
      writeFileSync(path, bytes);
      const file = new SafetensorsFile(path);
      try {
        for (const name of file.tensors.keys()) file.read(name);
      } finally {
        file.close();
      }
    });
  });
}

/** Mutated configurations, turned into plans and their parameters. */
export function fuzzConfigs(
  seed: number,
  count: number,
  configs: readonly Readonly<Record<string, unknown>>[],
): Promise<FuzzResult> {
  return fuzz('config', seed, count, (below) => {
    const config = mutateValue(configs[below(configs.length)] ?? {}, below) as Record<string, unknown>;
    parametersOf(familyOf(config).plan(config));
  });
}

/**
 * Mutated tokenizers, asked to encode a sentence and to decode it again. They are given from memory: opening files took longer
 * than all else, many times so on a busy machine.
 */
export function fuzzTokenizers(seed: number, count: number, modelDir: string): Promise<FuzzResult> {
  const originals = ['tokenizer.json', 'tokenizer_config.json'].map((name) => {
    const file = join(modelDir, name);
    const text = readFileSync(file, 'utf8');
    return { file, text, bytes: Buffer.from(text), document: JSON.parse(text) as unknown };
  });
  const [main, config] = originals;
  invariant(main !== undefined && config !== undefined, 'two files');
  return fuzz('tokenizer', seed, count, async (below) => {
    const { file, text, bytes, document } = below(8) === 0 ? config : main;
    const asBytes = below(3) === 0;
    const damaged = asBytes
      ? mutateBytes(bytes, text.length, below).toString('utf8')
      : JSON.stringify(mutateValue(document, below));
    const texts = new Map(originals.map((original) => [original.file, original.text]));
    texts.set(file, damaged);
    const tokenizer = await openTokenizer(modelDir, (path) => Promise.resolve(texts.get(path)));
    tokenizer.decode([
      ...tokenizer.encode('What is 7 × 8? <|end|> ünï\u{1F600}', { addSpecialTokens: true }).ids,
    ]);
  });
}
