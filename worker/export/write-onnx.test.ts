import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { openModelFolder } from '#worker/checkpoint/index.ts';
import { plainSession, usedSession } from '#worker/methods/index.ts';
import {
  parametersOf,
  plainRouting,
  routerShapes,
  type Parameter,
  type Routing,
} from '#worker/model/index.ts';
import { openModelFile } from '#worker/runtime/index.ts';
import { writeRandomModel } from '#worker/testing/index.ts';
import { decoderOf } from '#worker/train/index.ts';
import { storedValues } from './write-model.ts';
import { writeOnnx } from './write-onnx.ts';
import os from 'node:os';
import path from 'node:path';

const work = mkdtempSync(path.join(os.tmpdir(), 'condenser-onnx-'));
afterAll(() => rmSync(work, { recursive: true }));

const config = {
  model_type: 'olmoe',
  vocab_size: 60,
  hidden_size: 16,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  num_experts: 4,
  num_experts_per_tok: 2,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
};

/** Writes a random model, whose values go through `change` once it was computed what is expected of the file. */
async function write(
  out: string,
  change: (values: Float32Array, parameter: Parameter) => Float32Array = (values) => values,
  routed: (plain: Routing) => Routing = (plain) => plain,
  scaling: Readonly<Record<string, unknown>> = {},
) {
  const dir = `${out}-model`;
  writeRandomModel(dir, { ...config, ...scaling });
  const source = await openModelFolder(dir);
  try {
    const { family, plan } = decoderOf(source);
    const model = {
      source,
      family,
      plan,
      parameters: parametersOf(plan),
      isChanged: () => false,
      values: (parameter: Parameter) => change(storedValues({ source, family, plan }, parameter), parameter),
    };
    const routing = routed(plainRouting(routerShapes(plan)));
    const session = { ...usedSession(plainSession(plan, { losses: [], routing })), routing };
    return await writeOnnx(model, session, out, 'F32');
  } finally {
    source.close();
  }
}

test('a file that computes something else is refused, and nothing is left behind', async () => {
  const right = path.join(work, 'right');
  expect((await write(right)).logits.largestDifference).toBeLessThan(1e-4);
  expect(existsSync(path.join(right, 'model.onnx'))).toBe(true);

  const wrong = path.join(work, 'wrong');
  const shifted = write(wrong, (values, { role }) =>
    role === 'router' ? values.map((value) => value + Math.sign(value)) : values,
  );
  const error: unknown = await shifted.catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'export/not-verified' });
  expect(String(error)).toMatch(/they differ by [\d.]+ in 12 of 12 rows, the largest is [\d.]+$/);
  const broken = write(wrong, (values, { role }) => (role === 'head' ? values.map(() => Infinity) : values));
  await expect(broken).rejects.toMatchObject({ code: 'export/non-finite' });
  expect([wrong, `${wrong}.partial`].filter((folder) => existsSync(folder))).toEqual([]);
});

test('a choice that is more than a rule is refused', async () => {
  const out = path.join(work, 'refused');
  const refused = write(out, undefined, (routing) => ({
    ...routing,
    choose: (scores_NE, ids_N, layer) => routing.choose(scores_NE, ids_N, layer),
  }));
  await expect(refused).rejects.toMatchObject({ code: 'export/onnx-unsupported' });
  expect(existsSync(out)).toBe(false);
});

test('with dynamic scaling of positions a file refuses the rows that training refuses', async () => {
  const out = path.join(work, 'dynamic');
  const rope_scaling = { rope_type: 'dynamic', factor: 2 };
  await write(out, undefined, undefined, { rope_scaling, max_position_embeddings: 30 });
  const names = { inputs: ['input_ids', 'attention_mask'], outputs: ['logits'] };
  const program = openModelFile(path.join(out, 'model.onnx'), names);
  const run = (length: number) => {
    const ones = { dtype: 'int64', shape: [1, length], data: new BigInt64Array(length).fill(1n) } as const;
    return program.run({ input_ids: ones, attention_mask: ones })['logits'];
  };
  expect(run(30)?.shape).toEqual([1, 30, 60]);
  expect(() => run(31)).toThrow(/rowsOfAtMost30Tokens.*out of data bounds/s);
  expect(run(1)?.shape).toEqual([1, 1, 60]);
  program.release();
});
