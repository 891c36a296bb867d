import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { familyOf } from '#worker/families/index.ts';
import { readDefaultOutputs, writeDefaultOutputs } from './default-output-file.ts';

const olmoe = (experts: number) =>
  familyOf({ model_type: 'olmoe' }).plan({
    vocab_size: 7,
    hidden_size: 2,
    intermediate_size: 5,
    num_hidden_layers: 2,
    num_attention_heads: 1,
    num_experts: experts,
    num_experts_per_tok: 1,
  });
const outputs = [Float32Array.of(1, 2, 3, 4, 5, 0.1), Float32Array.of(-1, -2, -3, -4, -5, -6)];

let work = '';
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'condenser-defaults-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

test('what is written is read, from the file and from its folder, and replaced by what is written later', () => {
  writeDefaultOutputs(work, olmoe(3), outputs.toReversed());
  writeDefaultOutputs(work, olmoe(3), outputs);
  expect(readDefaultOutputs(work, olmoe(3))).toEqual(outputs);
  expect(readDefaultOutputs(join(work, 'default_outputs.safetensors'), olmoe(3))).toEqual(outputs);
});

test('a file of another model is refused', () => {
  writeDefaultOutputs(work, olmoe(3), outputs);
  expect(() => readDefaultOutputs(work, olmoe(4))).toThrow(
    'layers.0.default_outputs is F32 [3, 2]; expected is F32 [4, 2]',
  );
});

test('a folder without the file is refused', () => {
  const empty = join(work, 'empty');
  mkdirSync(empty);
  expect(() => readDefaultOutputs(empty, olmoe(3))).toThrow('default_outputs.safetensors does not exist');
});
