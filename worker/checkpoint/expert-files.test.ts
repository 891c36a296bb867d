import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readExpertConfig, readExpertScores, writeExpertConfig, writeExpertScores } from './expert-files.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'condenser-experts-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

test('the published configuration is read, and written as it is', () => {
  const published = { experts: { '1': [3, 0], '10': [7] }, shared_experts: true, non_expert_modules: false };
  const path = join(folder, 'intent.json');
  writeFileSync(path, JSON.stringify({ ...published, comment: 'unknown keys do not matter' }));
  const config = readExpertConfig(path);
  expect(config).toEqual({
    experts: new Map([
      [1, [3, 0]],
      [10, [7]],
    ]),
    sharedExperts: true,
    nonExpertModules: false,
  });
  writeExpertConfig(folder, config);
  expect(JSON.parse(readFileSync(join(folder, 'expert_cfg.json'), 'utf8'))).toEqual(published);
  expect(readExpertConfig(folder)).toEqual(config);
});

test.each([
  [{}, 'experts'],
  [{ experts: { first: [0] } }, 'experts.first'],
  [{ experts: { '0': [1, 1] } }, 'an expert is listed twice'],
  [{ experts: { '0': [-1] } }, 'experts.0.0'],
  [{ experts: { '0': [0] }, shared_experts: 'no' }, 'shared_experts'],
])('what is wrong with %j is named', (content, reason) => {
  const path = join(folder, 'wrong.json');
  writeFileSync(path, JSON.stringify(content));
  expect(() => readExpertConfig(path)).toThrow(reason);
  expect(() => readExpertConfig(path)).toThrow(path);
});

test('a missing file is named', () => {
  expect(() => readExpertConfig(join(folder, 'none.json'))).toThrow(
    expect.objectContaining({ code: 'expert-file/missing' }),
  );
});

test('scores come back to the last bit, more than ten layers and experts in order', () => {
  expect(readExpertScores(folder)).toBeUndefined();
  const layer = (seed: number) => Array.from({ length: 12 }, (_, e) => 1 / (3 + e + seed));
  const layers = (seed: number) => new Map(Array.from({ length: 12 }, (_, l) => [l + 1, layer(seed + l)]));
  const scores = { token: layers(0), gate: layers(100) };
  writeExpertScores(folder, scores);
  const read = readExpertScores(folder);
  expect(read).toEqual(scores);
  expect([...(read?.token.keys() ?? [])]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
});
