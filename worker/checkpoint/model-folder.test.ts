import { cpSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { encodeFloats, findNonFinite, openModelFolder, writeSafetensors, type NamedTensor } from './index.ts';
import { temporaryFolder } from './temporary-folder.fixture.ts';

const tensor = (name: string, ...values: number[]): NamedTensor => ({
  name,
  dtype: 'F32',
  shape: [values.length],
  data: encodeFloats(Float32Array.from(values), 'F32'),
});

/** A model of two shards, `a` in the first, `b` in the second. */
function shardedModel(dir = temporaryFolder()): string {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'config.json'), '{"model_type": "olmoe"}');
  writeSafetensors(join(dir, 'one.safetensors'), [tensor('a', 1, 2), tensor('unlisted', 9)]);
  writeSafetensors(join(dir, 'two.safetensors'), [tensor('b', 3)]);
  writeIndex(dir, { a: 'one.safetensors', b: 'two.safetensors' });
  return dir;
}

function writeIndex(dir: string, weightMap: unknown): void {
  writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
}

async function expectRefused(dir: string, code: string, ...parts: readonly string[]): Promise<void> {
  const error: unknown = await openModelFolder(dir).then(
    (model) => model.close(),
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ name: 'UserError', code });
  for (const part of [dir, ...parts]) expect(String(error)).toContain(part);
}

test('a sharded model opens with the tensors its index names', async () => {
  const dir = shardedModel();
  const model = await openModelFolder(dir);
  expect(model.config).toEqual({ model_type: 'olmoe' });
  expect([...model.tensors.keys()]).toEqual(['a', 'b']);
  expect(model.totalBytes).toBe(12);
  expect(model.files.map(({ name }) => name)).toEqual([
    'config.json',
    'model.safetensors.index.json',
    'one.safetensors',
    'two.safetensors',
  ]);
  expect(new Float32Array((await model.read('a')).buffer)).toEqual(Float32Array.of(1, 2));
  const target = new Float32Array(1);
  model.readInto('b', new Uint8Array(target.buffer));
  expect(target[0]).toBe(3);
  expect(() => model.readInto('unlisted', new Uint8Array(4))).toThrow('no tensor unlisted');
  model.close();
});

test('model.safetensors is preferred over an index', async () => {
  const dir = shardedModel();
  writeSafetensors(join(dir, 'model.safetensors'), [tensor('single', 1)]);
  const model = await openModelFolder(dir);
  expect([...model.tensors.keys()]).toEqual(['single']);
  model.close();
});

test('sha256 depends on the content and not on the place', async () => {
  const dir = shardedModel();
  const copy = join(temporaryFolder(), 'copy');
  cpSync(dir, copy, { recursive: true });
  const digest = async (folder: string): Promise<string> => {
    const model = await openModelFolder(folder);
    model.close();
    return model.sha256();
  };
  const original = await digest(dir);
  expect(original).toMatch(/^[0-9a-f]{64}$/);
  expect(await digest(copy)).toBe(original);
  writeSafetensors(join(copy, 'two.safetensors'), [tensor('b', 4)]);
  expect(await digest(copy)).not.toBe(original);
});

test('a folder without config or weights is refused', async () => {
  expect.hasAssertions();
  const dir = shardedModel();
  await expectRefused(join(dir, 'none'), 'model/folder-missing');
  await expectRefused(join(dir, 'config.json'), 'model/folder-missing');
  renameSync(join(dir, 'model.safetensors.index.json'), join(dir, 'pytorch_model.bin'));
  await expectRefused(dir, 'model/weights-missing');
  rmSync(join(dir, 'config.json'));
  await expectRefused(dir, 'model/config/missing', 'config.json');
});

test('a config that is not a JSON object is refused', async () => {
  expect.hasAssertions();
  const dir = shardedModel();
  const config = join(dir, 'config.json');
  for (const [content, code] of [
    ['[1]', 'not-an-object'],
    ['"x"', 'not-an-object'],
    ['null', 'not-an-object'],
    ['{"a": NaN}', 'not-json'],
    ['', 'not-json'],
    [Buffer.from([0x7b, 0xff, 0x7d]), 'unreadable'],
  ] as const) {
    writeFileSync(config, content);
    await expectRefused(dir, `model/config/${code}`, 'config.json');
  }
  rmSync(config);
  mkdirSync(config);
  await expectRefused(dir, 'model/config/unreadable', 'config.json');
});

test('an index that does not fit its shards is refused', async () => {
  expect.hasAssertions();
  const dir = shardedModel();
  writeIndex(dir, undefined);
  await expectRefused(dir, 'model/index-invalid', 'weight_map');
  writeIndex(dir, { a: 'one.safetensors', c: 'two.safetensors' });
  await expectRefused(dir, 'model/index-invalid', '"c"', 'two.safetensors');
  writeIndex(dir, { a: 'one.safetensors', b: 'three.safetensors' });
  await expectRefused(dir, 'model/shard-missing', '"b"', 'three.safetensors');
  writeFileSync(
    join(dir, 'model.safetensors.index.json'),
    '{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}',
  );
  await expectRefused(dir, 'model/index/duplicate', '"a"');
  writeFileSync(join(dir, 'three.safetensors'), '');
  writeIndex(dir, { b: 'three.safetensors' });
  await expectRefused(dir, 'safetensors/empty', 'three.safetensors');
});

test('an index cannot lead out of the folder', async () => {
  expect.hasAssertions();
  const dir = shardedModel(join(temporaryFolder(), 'model'));
  writeSafetensors(join(dir, '..', 'outside.safetensors'), [tensor('a', 1)]);
  for (const name of [
    '../outside.safetensors',
    join(dir, '..', 'outside.safetensors'),
    '..\\outside.safetensors',
    '..',
    '',
    'a.bin',
    7,
  ]) {
    writeIndex(dir, { a: name });
    await expectRefused(dir, 'model/index-invalid', '"a"');
  }
});

test.skipIf(process.platform === 'win32')(
  'links must end inside the folder, or in the blobs of a Hugging Face cache',
  async () => {
    const root = temporaryFolder();
    const blobs = shardedModel(join(root, 'models--x', 'blobs'));
    const snapshot = join(root, 'models--x', 'snapshots', 'abc');
    const elsewhere = join(root, 'elsewhere', 'abc');
    for (const folder of [snapshot, elsewhere]) {
      mkdirSync(folder, { recursive: true });
      for (const name of readdirSync(blobs)) symlinkSync(join(blobs, name), join(folder, name));
    }
    const model = await openModelFolder(snapshot);
    expect(model.tensors.size).toBe(2);
    model.close();
    await expectRefused(elsewhere, 'model/link-outside', blobs);

    const inside = shardedModel(join(root, 'inside'));
    renameSync(join(inside, 'one.safetensors'), join(inside, 'data'));
    symlinkSync('data', join(inside, 'one.safetensors'));
    (await openModelFolder(inside)).close();
    symlinkSync(inside, join(root, 'alias'));
    (await openModelFolder(join(root, 'alias'))).close();

    const outside = join(root, 'models--x', 'outside');
    writeSafetensors(outside, [tensor('a', 1)]);
    rmSync(join(snapshot, 'one.safetensors'));
    symlinkSync(outside, join(snapshot, 'one.safetensors'));
    await expectRefused(snapshot, 'model/link-outside', 'outside');
  },
);

test('findNonFinite names the tensor and the position, in every float type', async () => {
  const dir = temporaryFolder();
  writeFileSync(join(dir, 'config.json'), '{}');
  const write = async (...tensors: NamedTensor[]) => {
    writeSafetensors(join(dir, 'model.safetensors'), tensors);
    const model = await openModelFolder(dir);
    const found = findNonFinite(model);
    model.close();
    return found;
  };
  expect(
    await write(tensor('a', 1, 3.4e38), {
      name: 'n',
      dtype: 'I64',
      shape: [1],
      data: new Uint8Array(8).fill(255),
    }),
  ).toBeUndefined();
  expect(await write(tensor('a', 1), tensor('b', 0, 0, -Infinity))).toEqual({
    tensor: 'b',
    index: 2,
    value: -Infinity,
  });
  for (const dtype of ['BF16', 'F16'] as const) {
    const data = encodeFloats(Float32Array.of(1, NaN), dtype);
    expect(await write({ name: 'w', dtype, shape: [2], data })).toEqual({
      tensor: 'w',
      index: 1,
      value: NaN,
    });
  }
  // Past the part that is looked at in one go.
  const values = new Float32Array(4 * 2 ** 20 + 5).fill(1).with(4 * 2 ** 20 + 3, Infinity);
  expect(
    await write({ name: 'w', dtype: 'F32', shape: [values.length], data: encodeFloats(values, 'F32') }),
  ).toMatchObject({
    tensor: 'w',
    index: 4 * 2 ** 20 + 3,
  });
});
