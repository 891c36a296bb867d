import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generalExchanges, wordProblems } from '../../../scripts/sample/corpus.ts';
import { Draws } from '../../../scripts/sample/draws.ts';
import { condenser } from './cli.fixture.ts';

const sample = path.join(import.meta.dirname, '../../../resources/sample/sample-moe');

let dir = '';
/** Of a task that the sample does not know, and of those it was made with. */
let files: readonly string[] = [];
beforeAll(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'condenser-gate-'));
  const write = (name: string, rows: readonly object[]) => {
    const file = path.join(dir, name);
    writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return file;
  };
  files = [
    '--special',
    write('special.jsonl', wordProblems(new Draws(5, 1), 32)),
    '--general',
    write('general.jsonl', generalExchanges(new Draws(6, 1), 32)),
  ];
});
afterAll(() => rmSync(dir, { recursive: true }));

/** The sample with local experts that count in full and know the special data. */
async function customised(mixture: string): Promise<string> {
  const file = path.join(dir, `${mixture}.json`);
  const spec = {
    name: mixture,
    model: { path: sample },
    data: { train: [{ path: 'special.jsonl' }], validation: { fraction: 0 }, maxLength: 128, packing: false },
    method: { name: 'local-expert', options: { rank: 8, gate: 'none', mixture, wrongTokenGain: 0 } },
    train: { steps: 12, microBatch: 4, gradientAccumulation: 1, learningRate: 0.02 },
  };
  writeFileSync(file, JSON.stringify(spec));
  const run = path.join(dir, mixture);
  expect((await condenser('train', file, '--out', run, '--home', dir)).status).toBe(0);
  expect((await condenser('export', run, '--out', `${run}-full`)).status).toBe(0);
  return `${run}-full`;
}

interface Measure {
  readonly base: number;
  readonly local: number;
  readonly gated: number;
  readonly open: number;
}

test.each(['residual', 'output'])(
  'gates of the %s form keep what local experts gain on special text and spare general text',
  async (mixture) => {
    const model = await customised(mixture);
    const out = `${model}-gated`;
    const options = [...files, '--loss-on', 'completion', '--allowed', '0.01'];
    const said = await condenser('fit-gate', model, ...options, '--out', out, '--json');
    const document = said.json()[0] as {
      readonly localExpert: { readonly gated: boolean; readonly threshold: number };
      readonly special: Measure;
      readonly general: Measure;
      readonly areas: readonly number[];
    };
    expect(said.status).toBe(0);
    const { special, general, areas } = document;
    expect(special.local).toBeLessThan(0.95 * special.base);
    expect(general.local).toBeGreaterThan(general.base * 1.01);
    expect(special.gated).toBeLessThan(special.base - 0.4 * (special.base - special.local));
    expect(general.gated).toBeLessThanOrEqual(general.base * 1.01);
    expect(special.open).toBeGreaterThan(general.open + 0.1);
    expect(areas).toHaveLength(mixture === 'output' ? 1 : 4);
    expect(Math.min(...areas)).toBeGreaterThan(0.7);
    expect(document.localExpert).toMatchObject({ gated: true });
    expect((await condenser('inspect', out, '--json')).json()[0]).toMatchObject({ problems: [] });
    expect(JSON.parse(readFileSync(path.join(out, 'gate_fit.json'), 'utf8'))).toMatchObject({
      allowed: 0.01,
    });
    // Fitted once and for all.
    const again = await condenser('fit-gate', out, ...options, '--out', `${out}-again`, '--json');
    expect(again.json()[0]).toMatchObject({ code: 'fit-gate/gated' });
  },
);

test('a model without local experts has no gate to fit', async () => {
  const said = await condenser('fit-gate', sample, ...files, '--out', path.join(dir, 'none'), '--json');
  expect(said.json()[0]).toMatchObject({ code: 'fit-gate/no-local-expert' });
});
