import { mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ExportProgress } from '#core/contract/run-export.ts';
import { diskFileSystem } from './file-system.ts';
import {
  decodeFloats,
  encodeFloats,
  exportHfFolder,
  openModelFolder,
  writeSafetensors,
  type HfFolderRequest,
  type FloatDtype,
  type ModelFolder,
  type TrainedTensor,
} from './index.ts';
import { temporaryFolder } from './temporary-folder.fixture.ts';

const floats = (name: string, dtype: FloatDtype, ...values: number[]) => ({
  name,
  dtype,
  shape: [values.length],
  data: encodeFloats(Float32Array.from(values), dtype),
});

async function sourceModel(): Promise<ModelFolder> {
  const dir = join(temporaryFolder(), 'source');
  mkdirSync(dir);
  writeFileSync(
    join(dir, 'config.json'),
    '{"model_type":"olmoe","torch_dtype":"bfloat16","eos_token_id":1,"attention_dropout":0.0}',
  );
  for (const name of [
    'tokenizer.json',
    'tokenizer_config.json',
    'generation_config.json',
    'LICENSE',
    'README.md',
    'old.bin',
  ]) {
    writeFileSync(join(dir, name), `content of ${name}`);
  }
  mkdirSync(join(dir, 'tokenizer.d'));
  writeSafetensors(join(dir, 'model.safetensors'), [
    floats('frozen', 'BF16', 1, 2, -3),
    floats('trained', 'BF16', 4, 5),
    floats('norm', 'F32', 0.1),
    { name: 'ids', dtype: 'I64', shape: [1], data: new Uint8Array(8).fill(1) },
  ]);
  return openModelFolder(dir);
}

/** Exports, reopens, and gives every float tensor as numbers. */
async function exported(request: Omit<HfFolderRequest, 'source' | 'out'>) {
  const source = await sourceModel();
  const out = join(temporaryFolder(), 'out');
  const files = await exportHfFolder({ ...request, source, out });
  source.close();
  const model = await openModelFolder(out);
  const values: Record<string, readonly number[]> = {};
  for (const { name, dtype } of model.tensors.values()) {
    if (dtype !== 'I64') values[name] = [...decodeFloats(await model.read(name), dtype as FloatDtype)];
  }
  model.close();
  const dtypes = Object.fromEntries([...model.tensors.values()].map(({ name, dtype }) => [name, dtype]));
  return { out, files, model, values, dtypes };
}

const trained = (...values: number[]) => ({ shape: [values.length], data: Float32Array.from(values) });

test('trained tensors replace those of the source in its element types; the rest is carried over', async () => {
  const { out, files, model, values, dtypes } = await exported({
    tensors: new Map<string, TrainedTensor>([
      ['trained', { shape: [2], data: () => Float32Array.of(0.5, 1.00390625) }],
      ['adapter', trained(0.1)],
    ]),
    dtype: 'source',
    omit: new Set(['norm']),
    config: { eos_token_id: 2 },
    extraFiles: new Map([['README.md', 'tuned']]),
  });
  expect(values).toEqual({ frozen: [1, 2, -3], trained: [0.5, 1], adapter: [Math.fround(0.1)] });
  expect(dtypes).toEqual({ frozen: 'BF16', trained: 'BF16', adapter: 'F32', ids: 'I64' });
  expect(model.config).toEqual({
    model_type: 'olmoe',
    torch_dtype: 'bfloat16',
    eos_token_id: 2,
    attention_dropout: 0,
  });
  // Strict loaders refuse an integer where they expect a float.
  expect(readFileSync(join(model.dir, 'config.json'), 'utf8')).toContain('"attention_dropout": 0.0');
  const expected = [
    'LICENSE',
    'README.md',
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ];
  expect(readdirSync(out).sort()).toEqual(expected);
  expect(files.map(({ name }) => name).sort()).toEqual(expected);
  expect(readFileSync(join(out, 'README.md'), 'utf8')).toBe('tuned');
  expect(readFileSync(join(out, 'tokenizer.json'), 'utf8')).toBe('content of tokenizer.json');
});

test('one element type for all floats, also said in config.json; integers stay', async () => {
  for (const [dtype, name] of [
    ['F32', 'float32'],
    ['F16', 'float16'],
  ] as const) {
    const { model, values, dtypes } = await exported({
      tensors: new Map([['trained', trained(0.25, -8)]]),
      dtype,
    });
    expect(dtypes).toEqual({ frozen: dtype, trained: dtype, norm: dtype, ids: 'I64' });
    expect(values).toMatchObject({ frozen: [1, 2, -3], trained: [0.25, -8] });
    expect(model.config).toMatchObject({ torch_dtype: name });
  }
});

test('above the limit the weights are sharded, with an index that opens', async () => {
  const { out, values } = await exported({ tensors: new Map(), dtype: 'source', shardBytes: 14 });
  expect(readdirSync(out).filter((name) => name.startsWith('model'))).toEqual([
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
    'model.safetensors.index.json',
  ]);
  const index = JSON.parse(readFileSync(join(out, 'model.safetensors.index.json'), 'utf8')) as unknown;
  expect(index).toMatchObject({
    metadata: { total_size: 22 },
    weight_map: { ids: 'model-00001-of-00002.safetensors' },
  });
  expect(values).toEqual({ frozen: [1, 2, -3], trained: [4, 5], norm: [Math.fround(0.1)] });
});

/** An export of one tensor with the values 1 and `value`, into a folder that holds nothing else. */
async function exportValue(value: number, dtype: FloatDtype): Promise<string> {
  const source = await sourceModel();
  const out = join(temporaryFolder(), 'out');
  const tensors = new Map([['trained', trained(1, value)]]);
  await exportHfFolder({ source, out, tensors, dtype }).finally(() => source.close());
  return out;
}

test('the largest values that round to a finite number are exported', async () => {
  for (const [value, dtype, stored] of [
    [65519.99609375, 'F16', 65504],
    [2 ** 128 * (1 - 2 ** -9) - 2 ** 104, 'BF16', 2 ** 128 * (1 - 2 ** -8)],
  ] as const) {
    const model = await openModelFolder(await exportValue(value, dtype));
    expect(decodeFloats(await model.read('trained'), dtype)[1]).toBe(stored);
    model.close();
  }
});

test('values that the element type cannot hold are refused, and nothing is left behind', async () => {
  for (const [value, dtype] of [
    [NaN, 'F32'],
    [-Infinity, 'BF16'],
    [65520, 'F16'],
    [-(2 ** 128) * (1 - 2 ** -9), 'BF16'],
  ] as const) {
    const error: unknown = await exportValue(value, dtype).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'UserError', code: 'export/non-finite' });
    expect(String(error)).toContain('trained');
  }
  const source = await sourceModel();
  const parent = temporaryFolder();
  const tensors = new Map([['trained', trained(1, NaN)]]);
  await expect(exportHfFolder({ source, out: join(parent, 'out'), tensors, dtype: 'F32' })).rejects.toThrow(
    'NaN',
  );
  expect(readdirSync(parent)).toEqual([]);
  source.close();
});

test('an existing folder is kept unless empty; a full disk and a bad disk leave nothing', async () => {
  const source = await sourceModel();
  const parent = temporaryFolder();
  const out = join(parent, 'out');
  const request = { source, out, tensors: new Map([['trained', trained(1, 2)]]), dtype: 'source' } as const;
  mkdirSync(out);
  const full = (): never => {
    throw Object.assign(new Error('full'), { code: 'ENOSPC' });
  };
  await expect(
    exportHfFolder({ ...request, fileSystem: { ...diskFileSystem, write: full } }),
  ).rejects.toMatchObject({
    code: 'export/disk-full',
  });
  const corrupt = (descriptor: number, data: Uint8Array): number => {
    const changed = Uint8Array.from(data);
    changed[changed.length - 1] = (changed[changed.length - 1] ?? 0) ^ 1;
    return diskFileSystem.write(descriptor, data.length === 8 ? changed : data);
  };
  await expect(
    exportHfFolder({ ...request, fileSystem: { ...diskFileSystem, write: corrupt } }),
  ).rejects.toMatchObject({
    code: 'export/not-verified',
  });
  expect(readdirSync(parent)).toEqual(['out']);
  const seen: ExportProgress[] = [];
  const files = await exportHfFolder({ ...request, onProgress: (progress) => seen.push(progress) });
  // Three and two numbers in bfloat16, one in float32 and one in int64.
  const of = 3 * 2 + 2 * 2 + 4 + 8;
  expect(seen.at(-1)).toEqual({ written: files.reduce((sum, { bytes }) => sum + bytes, 0), of });
  await expect(exportHfFolder(request)).rejects.toMatchObject({ code: 'export/exists' });
  source.close();
});

test.skipIf(process.platform === 'win32')(
  'a companion file that links out of the model is not exported',
  async () => {
    const source = await sourceModel();
    const parent = temporaryFolder();
    writeFileSync(join(parent, 'secret'), 'x');
    symlinkSync(join(parent, 'secret'), join(source.dir, 'vocab.txt'));
    const request = { source, out: join(parent, 'out'), tensors: new Map(), dtype: 'source' } as const;
    await expect(exportHfFolder(request)).rejects.toMatchObject({ code: 'model/link-outside' });
    expect(readdirSync(parent)).toEqual(['secret']);
    source.close();
  },
);
