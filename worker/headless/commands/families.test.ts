/** Every family through the whole program on its tiny golden model: inspect, train, resume, generate, export. */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import { openLatestCheckpoint } from '#worker/checkpoint/index.ts';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { familyNames } from '#worker/families/index.ts';
import { goldenFamilyModel, hasGoldenFamilies } from '#worker/testing/index.ts';
import { loadModel, openTrainedWeights } from '#worker/train/index.ts';
import { condenser, writeTokenizer } from './cli.fixture.ts';
import { largestDifference, logitsOfFile } from './onnx.fixture.ts';
import { trainHere } from './train-here.fixture.ts';
import os from 'node:os';
import path from 'node:path';

/**
 * Exports and their logits are kept here, for scripts/compare-exports.py, and those in ONNX beside it, with `-onnx` behind its
 * name, for scripts/compare-onnx.py; by default they are not.
 */
const kept = process.env['CONDENSER_KEEP_EXPORTS'];

let work = '';
beforeAll(() => {
  work = mkdtempSync(path.join(os.tmpdir(), 'condenser-families-'));
  const rows = Array.from({ length: 8 }, (_, i) => ({
    prompt: `w${2 + i} w${60 + i}`,
    response: `w${100 + i} w${2 + 3 * i} w${30 + i}`,
  }));
  writeFileSync(path.join(work, 'data.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Hash of the weights and moments of a run's newest checkpoint. */
function stateHash(runDir: string): string {
  const checkpoint = openLatestCheckpoint(runDir);
  if (checkpoint === undefined) throw new RangeError(`${runDir} has no checkpoint`);
  checkpoint.tensors.close();
  const tensors = readFileSync(path.join(checkpoint.info.path, 'tensors.safetensors'));
  return createHash('sha256').update(tensors).digest('hex');
}

/** As in scripts/compare_families.py. */
const row = Int32Array.from({ length: 12 }, (_, place) => 5 + ((7 * place) % 90));

/** Logits of a fixed row; `runDir`: with the weights a run trained. */
async function logitsOf(modelDir: string, runDir?: string): Promise<Float32Array> {
  const model = await loadModel({
    modelDir,
    method: { name: 'full', options: {} },
    trains: false,
    holdsEmbedding: true,
    threads: 1,
  });
  try {
    const weights = runDir === undefined ? undefined : openTrainedWeights(runDir);
    for (const id of weights?.ids ?? []) {
      const { data } = model.store.weight(id);
      if (!(data instanceof Float32Array) || weights === undefined)
        throw new TypeError(`${id} is not float32`);
      data.set(weights.read(id));
    }
    weights?.close();
    return (await model.executor.logits(unpaddedBatch(row), Int32Array.from(row.keys()))).logits;
  } finally {
    model.close();
  }
}

describe.runIf(hasGoldenFamilies)('family', () => {
  test.each(familyNames)('%s', { timeout: 60_000 }, async (family) => {
    const dir = path.join(work, family);
    const model = path.join(dir, 'model');
    cpSync(goldenFamilyModel(family), model, { recursive: true });
    writeTokenizer(model);

    const inspected = await condenser('inspect', model, '--json');
    expect(inspected.json()[0]).toMatchObject({ family });

    const spec = parseRunSpec({
      model: { path: model },
      data: { train: [{ path: path.join(work, 'data.jsonl') }], maxLength: 16 },
      method: { name: 'full' },
      train: { steps: 2, microBatch: 2, gradientAccumulation: 1, learningRate: 1e-3 },
      checkpoint: { everySteps: 1 },
      engine: { threads: 1 },
    });
    const [whole, broken] = [path.join(dir, 'whole'), path.join(dir, 'broken')];
    expect(await trainHere(whole, spec)).toEqual({ state: 'completed', step: 2 });
    const stopped = await trainHere(broken, spec, false, (asked) => (asked === 0 ? 'continue' : 'stop'));
    expect(stopped).toEqual({ state: 'stopped', step: 1 });
    expect(stateHash(broken)).not.toBe(stateHash(whole));
    expect(await trainHere(broken, spec, true)).toEqual({ state: 'completed', step: 2 });
    expect(stateHash(broken)).toBe(stateHash(whole));

    const prompt = ['--prompt', 'w3 w4', '--max-new-tokens', '3', '--json'];
    const spoken = await condenser('generate', whole, ...prompt);
    expect(spoken.status, spoken.stderr).toBe(0);
    const out = path.join(dir, 'export');
    const exported = await condenser('export', whole, '--format', 'hf', '--out', out, '--json');
    expect(exported.status, exported.stderr).toBe(0);
    expect((await condenser('generate', out, ...prompt)).json()[0]).toMatchObject({
      ids: spoken.json()[0]?.['ids'],
    });
    const trained = await logitsOf(model, whole);
    expect(await logitsOf(out)).toEqual(trained);
    expect(await logitsOf(model)).not.toEqual(trained);

    const onnx = path.join(dir, 'onnx');
    const written = await condenser('export', whole, '--format', 'onnx', '--out', onnx, '--json');
    expect(written.status, written.stderr).toBe(0);
    expect(largestDifference(logitsOfFile(onnx, row), trained)).toBeLessThan(1e-4);
    for (const [folder, to] of kept === undefined
      ? []
      : ([
          [out, kept],
          [onnx, `${kept}-onnx`],
        ] as const)) {
      cpSync(folder, path.join(to, family), { recursive: true });
      writeFileSync(path.join(to, `${family}.logits`), trained);
    }
    rmSync(dir, { recursive: true });
  });
});
