import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { GraphBuilder, op } from '#worker/graph/index.ts';
import { readPlacement, summarizePlacement } from './placement.ts';
import { createRuntime } from './runtime.ts';
import { zeroTensor } from './tensor-view.ts';

/** A profile as ONNX Runtime writes it: one event for each run of a node, beside others. */
function profile(...runs: readonly (readonly [node: string, provider: string, type: string])[]): string {
  const events = runs.map(([node, provider, type]) => ({
    cat: 'Node',
    name: `${node}_kernel_time`,
    dur: 10,
    args: {
      provider: `${provider}ExecutionProvider`,
      op_name: node.split('.')[0],
      input_type_shape: [{ [type]: [2] }],
    },
  }));
  return JSON.stringify([{ cat: 'Session', name: 'model_run', dur: 100 }, ...events]);
}

test('nodes are counted once for each program, whatever ran how often, and those left behind are named', () => {
  const folder = path.join(mkdtempSync(path.join(tmpdir(), 'condenser-placement-')), 'profiles');
  mkdirSync(folder);
  const gemm = ['Gemm.0', 'WebGpu', 'float'] as const;
  const shape = ['Shape.0', 'CPU', 'float'] as const;
  const concat = ['Concat.0', 'CPU', 'int64'] as const;
  const stray = ['Sign.0', 'CPU', 'float'] as const;
  writeFileSync(path.join(folder, 'a.json'), profile(gemm, gemm, ['Gemm.1', 'WebGpu', 'float'], shape));
  writeFileSync(path.join(folder, 'b.json'), profile(gemm, shape, concat, stray, stray));
  expect(summarizePlacement(readPlacement(folder))).toEqual({
    onAdapter: 3,
    sizesOnCpu: 3,
    leftToCpu: [{ operator: 'Sign', count: 1 }],
  });
  expect(readdirSync(folder)).toEqual([]);
  rmSync(path.dirname(folder), { recursive: true });
});

test.runIf(process.env['VK_ICD_FILENAMES'] !== undefined)(
  'programs are recorded until the recording is ended',
  async () => {
    const runtime = createRuntime({ provider: 'webgpu', recordPlacement: true });
    const run = async (name: string) => {
      const builder = new GraphBuilder(name);
      builder.output(name, op.exp(builder.input('x', 'float32', [2])));
      (await runtime.compile(builder.build())).run({ x: zeroTensor('float32', [2]) });
    };
    await run('a');
    await run('b');
    expect(summarizePlacement(runtime.endPlacement())).toEqual({
      onAdapter: 2,
      sizesOnCpu: 0,
      leftToCpu: [],
    });
    await run('c');
    expect(runtime.endPlacement()).toEqual([]);
    runtime.release();
  },
);
