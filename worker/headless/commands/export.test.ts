import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readExports, runFiles } from '#core/store/index.ts';
import { condenser, makeSite, tensorsOf, type Site } from './cli.fixture.ts';

let site: Site;
/** A finished run of the site's RUN.json. */
let run: string;
beforeAll(async () => {
  site = makeSite();
  run = path.join(site.dir, 'run');
  const { status, stderr } = await condenser('train', site.runFile, '--out', run, '--home', site.home);
  if (status !== 0) throw new Error(stderr);
});
afterAll(() => site.remove());

test('a whole folder generates what the run generates', async () => {
  const out = path.join(site.dir, 'exported');
  const said = await condenser('export', run, '--out', out, '--json');
  expect(said.json()[0]).toMatchObject({
    format: 'hf',
    step: 4,
    notes: [expect.stringContaining('moe_bias_states.json and forced_experts_records.json') as string],
  });
  expect((await condenser('inspect', out)).status).toBe(0);
  expect((await condenser('export', run, '--out', out, '--json')).json()[0]).toMatchObject({
    code: 'export/exists',
  });
  const half = path.join(site.dir, 'half');
  await condenser('export', run, '--out', half, '--dtype', 'BF16');
  expect((await condenser('inspect', half, '--json')).json()[0]).toMatchObject({
    dtype: 'BF16',
    problems: [],
  });
});

test('the page of the run will list it; one that cannot be listed is written all the same', async () => {
  const [listed, unlisted] = [path.join(site.dir, 'listed'), path.join(site.dir, 'unlisted')];
  const before = readExports(run);
  const said = await condenser('export', run, '--out', listed, '--json');
  expect(readExports(run)).toEqual([
    ...before,
    { ...(said.json()[0] as object), createdMs: expect.any(Number) as number },
  ]);
  const { exports: list } = runFiles(run);
  const text = readFileSync(list);
  writeFileSync(list, '[]');
  const other = await condenser('export', run, '--out', unlisted);
  writeFileSync(list, text);
  expect(other.stdout).toMatch(
    /The page of the run will not list this export: .*exports\.json is no valid list/,
  );
  expect(existsSync(path.join(unlisted, 'config.json'))).toBe(true);
});

test('a delta holds the same bytes as the whole folder, and only what changed', async () => {
  const [whole, delta] = [path.join(site.dir, 'whole-export'), path.join(site.dir, 'delta')];
  await condenser('export', run, '--out', whole);
  const said = await condenser('export', run, '--format', 'delta', '--out', delta);
  expect(said.status, said.stderr).toBe(0);
  expect(said.stderr).toMatch(/^\d+ [kM]B of \d+ [kM]B written$/m);
  const all = tensorsOf(path.join(whole, 'model.safetensors'));
  const base = tensorsOf(path.join(site.model, 'model.safetensors'));
  const changed = tensorsOf(path.join(delta, 'delta.safetensors'));
  const differing = [...all.all.keys()].filter((name) => all.bytes(name) !== base.bytes(name));
  expect([...changed.all.keys()].sort()).toEqual(differing.sort());
  for (const name of differing) expect(changed.bytes(name)).toBe(all.bytes(name));
  expect(JSON.parse(readFileSync(path.join(delta, 'delta.json'), 'utf8'))).toMatchObject({
    format: 'condenser-delta',
    step: 4,
    method: 'expert-condenser',
  });
});
