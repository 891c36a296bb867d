/** Golden cases of kind `generation`: greedy decoding, token by token. */
import { join } from 'node:path';
import { z } from 'zod';
import { generateTokens, loadModel } from '#worker/train/index.ts';
import {
  GoldenTensors,
  absoluteCheck,
  equalCheck,
  type CaseDocument,
  type Computing,
  type Check,
} from './golden-case.ts';

const GenerationCase = z.object({
  options: z.object({ new_tokens: z.int() }),
  tolerances: z.object({ step_logits: z.object({ atol: z.number() }) }),
});

/** Runs a `generation` case. */
export async function checkGenerationCase(
  dir: string,
  raw: CaseDocument,
  computing: Computing,
): Promise<Check[]> {
  const { options, tolerances } = GenerationCase.parse(raw);
  const inputs = new GoldenTensors(join(dir, 'batch.safetensors'));
  const expected = new GoldenTensors(join(dir, 'expected.safetensors'));
  const { shape, values } = inputs.get('input_ids');
  const [rows = 0, length = 0] = shape;
  const count = options.new_tokens;
  const model = await loadModel({
    modelDir: join(dir, 'model'),
    method: { name: 'full', options: {} },
    trains: false,
    ...computing,
  });
  try {
    const vocabulary = model.plan.vocabularySize;
    const generated = new Int32Array(rows * count);
    const stepLogits = new Float32Array(rows * count * vocabulary);
    const mask = inputs.integers('attention_mask');
    const prompts = Array.from({ length: rows }, (_, row) =>
      Int32Array.from(values)
        .subarray(row * length, (row + 1) * length)
        .filter((_id, place) => mask[row * length + place] === 1),
    );
    const made = new Int32Array(rows);
    await generateTokens(model.executor, prompts, count, (id, row, logits_V) => {
      const at = row * count + (made[row] ?? 0);
      made[row] = (made[row] ?? 0) + 1;
      generated[at] = id;
      stepLogits.set(logits_V, at * vocabulary);
      return true;
    });
    return [
      equalCheck('generated_ids', generated, expected.get('generated_ids').values),
      absoluteCheck('step_logits', stepLogits, expected.floats('step_logits'), tolerances.step_logits.atol),
    ];
  } finally {
    model.close();
  }
}
