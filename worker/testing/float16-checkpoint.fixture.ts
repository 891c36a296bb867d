/**
 * The checkpoint of a golden case rounded to float16, computed on the CPU and on a graphics adapter that holds it so. Rounding may send a
 * nearly tied token to another expert than in the reference; here both have the same weights, so that nothing but float32 sums differs.
 */
import { cpSync, readdirSync } from 'node:fs';
import {
  decodeFloats,
  encodeFloats,
  isFloatDtype,
  readSafetensors,
  writeSafetensors,
} from '#worker/checkpoint/index.ts';
import { gradientNorm, lossTargets } from '#worker/engine/index.ts';
import { hasGradient, type Parameter } from '#worker/model/index.ts';
import type { ProviderName } from '#worker/runtime/index.ts';
import { loadModel } from '#worker/train/index.ts';
import { goldenBatch } from './golden-batch.ts';
import { GoldenTensors, absoluteCheck, relativeCheck, type Check } from './golden-case.ts';
import path from 'node:path';

/** That of every golden case between providers. */
const LIMIT = 1e-3;

/** Writes the model folder of a case with all tensors in float16. */
function writeRounded(caseDir: string, modelDir: string): void {
  cpSync(path.join(caseDir, 'model'), modelDir, { recursive: true });
  for (const name of readdirSync(modelDir).filter((file) => file.endsWith('.safetensors'))) {
    const source = readSafetensors(path.join(caseDir, 'model', name));
    const tensors = [...source.tensors.values()].map((entry) => {
      const bytes = new Uint8Array(entry.end - entry.begin);
      source.readInto(entry.name, bytes);
      if (!isFloatDtype(entry.dtype)) throw new Error(`${entry.name} is ${entry.dtype}`);
      const words = encodeFloats(decodeFloats(bytes, entry.dtype), 'F16');
      return { name: entry.name, dtype: 'F16' as const, shape: entry.shape, data: () => words };
    });
    source.close();
    writeSafetensors(path.join(modelDir, name), tensors, { metadata: { format: 'pt' } });
  }
}

/** Logits, loss and the gradients that flow through all matrices to what is beside them. */
async function compute(modelDir: string, caseDir: string, provider: ProviderName) {
  const trains = (parameter: Parameter) =>
    hasGradient(parameter) && (parameter.shape.length === 1 || parameter.role === 'router');
  const method = { name: 'full', options: {} };
  const model = await loadModel({ modelDir, method, provider, trains });
  try {
    const { executor, store, optimizer } = model;
    const batch = goldenBatch(new GoldenTensors(path.join(caseDir, 'batch.safetensors')));
    const everywhere = Int32Array.from(batch.inputIds, (_, i) => i);
    const { logits } = await executor.logits(batch, everywhere);
    const { lossSum } = await executor.train(batch, lossTargets(batch).at.length, 1);
    const norm = gradientNorm(optimizer.gradientSquares());
    const trained = store.parameters.filter(({ id }) => store.isTrained(id));
    const gradients = new Map(
      trained.map(({ id }) => [id, Float32Array.from(store.gradient(id).data as Float32Array)]),
    );
    const halves = store.parameters.filter(({ id }) => store.dtype(id) === 'float16').length;
    const width = logits.length / batch.inputIds.length;
    return {
      logits,
      lossSum,
      norm,
      gradients,
      halves,
      isReal: (i: number) => batch.segments[Math.floor(i / width)] !== 0,
    };
  } finally {
    model.close();
  }
}

/**
 * Compares both.
 * @param work a folder of which a new one is made.
 * @returns the comparisons, and how many weights the adapter had in float16.
 */
export async function compareInFloat16(
  caseDir: string,
  work: string,
): Promise<{ readonly checks: readonly Check[]; readonly halves: number }> {
  const modelDir = path.join(work, path.basename(caseDir));
  writeRounded(caseDir, modelDir);
  const want = await compute(modelDir, caseDir, 'cpu');
  const got = await compute(modelDir, caseDir, 'webgpu');
  const largest = (values: Float32Array) => values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const check = (name: string, of: Float32Array, than: Float32Array, counts?: (index: number) => boolean) =>
    absoluteCheck(name, of, than, LIMIT * largest(than), counts);
  return {
    halves: got.halves,
    checks: [
      check('logits', got.logits, want.logits, want.isReal),
      relativeCheck('loss', [got.lossSum], [want.lossSum], LIMIT),
      relativeCheck('grad_norm', [got.norm], [want.norm], LIMIT),
      ...[...want.gradients].map(([id, gradient]) =>
        check(`grad.${id}`, got.gradients.get(id) ?? new Float32Array(0), gradient),
      ),
    ],
  };
}
