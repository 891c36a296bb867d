import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { familyOf } from '#worker/families/index.ts';
import { readTokenExperts, writeTokenExperts } from './token-expert-file.ts';

const olmoe = (experts: number, expertsPerToken = 2) =>
  familyOf({ model_type: 'olmoe' }).plan({
    vocab_size: 3,
    hidden_size: 2,
    intermediate_size: 5,
    num_hidden_layers: 2,
    num_attention_heads: 1,
    num_experts: experts,
    num_experts_per_tok: expertsPerToken,
  });
const tables = [Int32Array.of(0, 1, 2, 3, -1, -1), Int32Array.of(3, 2, 1, 0, 2, 1)];

let work = '';
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'condenser-tables-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

test('what is written is read, and a file of another model is refused', () => {
  writeTokenExperts(work, olmoe(4), tables);
  expect(readTokenExperts(work, olmoe(4))).toEqual(tables);
  expect(readTokenExperts(join(work, 'token_experts.safetensors'), olmoe(4))).toEqual(tables);
  expect(() => readTokenExperts(work, olmoe(3))).toThrow(
    'MoE layer 0 sends a token to expert 3; the layer has 3',
  );
  expect(() => readTokenExperts(work, olmoe(4, 1))).toThrow(
    'layers.0.token_experts is I32 [3, 2]; expected is I32 [3, 1]',
  );
});
