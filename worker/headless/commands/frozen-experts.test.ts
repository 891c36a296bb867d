import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRunReader, runFiles } from '#core/store/index.ts';
import { condenser, makeSite, tensorsOf, type Site } from './cli.fixture.ts';

let site: Site;
beforeAll(() => {
  site = makeSite();
});
afterAll(() => site.remove());

/** Writes a run of one expert of the first and two of the last of three layers of eight. */
function writeRun(frozenExperts: string): string {
  const expertConfig = path.join(site.dir, 'expert_cfg.json');
  const experts = { 0: [1], 1: [], 2: [0, 3] };
  writeFileSync(expertConfig, JSON.stringify({ experts, shared_experts: false, non_expert_modules: false }));
  const spec = JSON.parse(readFileSync(site.runFile, 'utf8')) as object;
  const runFile = path.join(site.dir, `${frozenExperts}.json`);
  const method = { name: 'esft', options: { expertConfig } };
  writeFileSync(runFile, JSON.stringify({ ...spec, method, engine: { frozenExperts } }));
  return runFile;
}

test('an export of a run with rounded experts has the frozen ones of the checkpoint, byte for byte', async () => {
  const runFile = writeRun('int8');
  const said = await condenser('train', runFile, '--home', site.home, '--json');
  expect(said.status, said.stderr).toBe(0);
  const dir = String(said.json()[0]?.['dir']);
  const out = path.join(site.dir, 'export');
  expect((await condenser('export', dir, '--out', out)).status).toBe(0);
  const before = tensorsOf(path.join(site.model, 'model.safetensors'));
  const after = tensorsOf(path.join(out, 'model.safetensors'));
  const changed = [...before.all.keys()].filter((name) => after.bytes(name) !== before.bytes(name));
  expect(changed).toHaveLength(3 * 3);
  expect(changed.every((name) => /layers\.(0\.mlp\.experts\.1|2\.mlp\.experts\.[03])\./.test(name))).toBe(
    true,
  );
});

test('a run that multiplies them as int8 says what it does, and loses little', async () => {
  const seriesOf = async (held: string) => {
    const said = await condenser('train', writeRun(held), '--home', site.home, '--json');
    expect(said.status, said.stderr).toBe(0);
    const reader = openRunReader(runFiles(String(said.json()[0]?.['dir'])).db);
    try {
      return reader.series();
    } finally {
      reader.close();
    }
  };
  const [stored, multiplied] = [await seriesOf('stored'), await seriesOf('int8-products')];
  const messages = multiplied.events.map(({ message }) => message).join('\n');
  expect(messages).toMatch(/63 matrices of frozen experts are rounded to int8/);
  expect(messages).toMatch(/They are multiplied as they are|no VNNI/);
  const losses = (series: typeof stored) => series.steps.map(({ loss }) => loss);
  expect(losses(multiplied)).not.toEqual(losses(stored));
  losses(multiplied).forEach((loss, at) => {
    expect(Math.abs(loss / (losses(stored)[at] ?? NaN) - 1)).toBeLessThan(0.01);
  });
});

test('the plan of a run with rounded experts needs less memory', async () => {
  const frozenMB = async (held: string) => {
    const [plan] = (await condenser('plan', writeRun(held), '--json')).json();
    return (plan as { memoryMB: { parts: Record<string, number> } }).memoryMB.parts['frozen weights'] ?? NaN;
  };
  const [stored, rounded] = [await frozenMB('stored'), await frozenMB('int8')];
  expect(rounded).toBeLessThan(stored);
});
