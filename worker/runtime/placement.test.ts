import { readdirSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { withTemporaryFolder } from '#core/process/temporary-folder.ts';
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

test('nodes are counted once for each program, whatever ran how often, and those left behind are named', async () => {
  const gemm = ['Gemm.0', 'WebGpu', 'float'] as const;
  const shape = ['Shape.0', 'CPU', 'float'] as const;
  const concat = ['Concat.0', 'CPU', 'int64'] as const;
  const stray = ['Sign.0', 'CPU', 'float'] as const;
  const placed = await withTemporaryFolder('placement', (folder) => {
    writeFileSync(path.join(folder, 'a.json'), profile(gemm, gemm, ['Gemm.1', 'WebGpu', 'float'], shape));
    writeFileSync(path.join(folder, 'b.json'), profile(gemm, shape, concat, stray, stray));
    return readPlacement(folder);
  });
  expect(summarizePlacement(placed)).toEqual({
    onAdapter: 3,
    sizesOnCpu: 3,
    leftToCpu: [{ operator: 'Sign', count: 1 }],
  });
});

test.runIf(process.env['VK_ICD_FILENAMES'] !== undefined)(
  'programs are recorded until the recording is ended, and nothing of it is left on disk',
  async () => {
    const recordings = () =>
      readdirSync(tmpdir()).filter((name) =>
        name.startsWith(`condenser-${hostname()}-${process.pid}-profiles-`),
      );
    const runtime = createRuntime({ provider: 'webgpu', recordPlacement: true });
    const run = async (name: string, on = runtime) => {
      const builder = new GraphBuilder(name);
      builder.output(name, op.exp(builder.input('x', 'float32', [2])));
      (await on.compile(builder.build())).run({ x: zeroTensor('float32', [2]) });
    };
    await run('a');
    await run('b');
    expect(recordings()).toHaveLength(1);
    expect(summarizePlacement(runtime.endPlacement())).toEqual({
      onAdapter: 2,
      sizesOnCpu: 0,
      leftToCpu: [],
    });
    expect(recordings()).toEqual([]);
    await run('c');
    expect(runtime.endPlacement()).toEqual([]);
    runtime.release();

    const unread = createRuntime({ provider: 'webgpu', recordPlacement: true });
    await run('d', unread);
    expect(recordings()).toHaveLength(1);
    unread.release();
    expect(recordings()).toEqual([]);
  },
);
