import path from 'node:path';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { InvariantError } from '#core/contract/errors.ts';
import { loadBinding } from './binding.ts';
import { GraphBuilder, accumulate, gradient, op, type Graph } from '#worker/graph/index.ts';
import {
  createRuntime,
  findAdapter,
  probeBeside,
  tensorView,
  zeroTensor,
  type DeviceMemory,
} from './index.ts';

const probe = probeBeside(process.execPath, path.resolve(import.meta.dirname, '../main.ts'));

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.runIf(process.env['VK_ICD_FILENAMES'] !== undefined)('on a graphics adapter', () => {
  const runtime = createRuntime({ provider: 'webgpu' });
  const memory = runtime.device as DeviceMemory;
  afterAll(() => runtime.release());

  const upload = (shape: readonly number[], ...values: number[]) =>
    memory.upload(tensorView('float32', shape, Float32Array.from(values)));

  test.each([[[6]], [[2, 3]], [[1, 3, 2]]])('a tensor %j is copied there and back', (shape) => {
    const before = memory.liveBytes;
    const tensor = upload(shape, 1, 2, 3, 4, 5, 6);
    expect(memory.liveBytes - before).toBe(24);
    const back = new Float32Array(6);
    memory.read(tensor, back);
    expect([...back]).toEqual([1, 2, 3, 4, 5, 6]);
    memory.write(tensor, Float32Array.of(6, 5, 4, 3, 2, 1));
    memory.read(tensor, back);
    expect([...back]).toEqual([6, 5, 4, 3, 2, 1]);
    tensor.dispose();
    expect(memory.liveBytes).toBe(before);
  });

  test('a gradient is added up in the place where it lies', async () => {
    const program = await runtime.compile(weightGradient());
    const sum = upload([2, 2], 0, 0, 0, 0);
    for (let run = 0; run < 3; run++) {
      const given = { x: upload([1, 2], 1, 2), 'd.y': upload([1, 2], 1, 10), 'acc.grad.w': sum };
      expect(program.run(given, { 'grad.w': sum })).toEqual({});
      given.x.dispose();
      given['d.y'].dispose();
    }
    const read = new Float32Array(4);
    memory.read(sum, read);
    expect([...read]).toEqual([3, 30, 6, 60]);
    sum.dispose();
  });

  test('rows of many inputs are joined, wherever they are', async () => {
    const count = 20;
    const builder = new GraphBuilder('join');
    const inputs = Array.from({ length: count }, (_, at) =>
      builder.input(`x${at}`, 'float32', [`N${at}`, 2]),
    );
    const doubled = inputs.map((x) => op.mul(x, 2));
    builder.output('y', op.concat(doubled, { axis: 0 }));
    const program = await runtime.compile(builder.build());
    for (const filled of [[0], [13], [19], [2, 18], [...inputs.keys()]]) {
      const feeds = inputs.map(({ name }, at) => {
        const rows = filled.includes(at) ? at + 1 : 0;
        return [name, tensorView('float32', [rows, 2], new Float32Array(2 * rows).fill(at))] as const;
      });
      const { y } = program.run(Object.fromEntries(feeds));
      expect([...(y?.data ?? [])]).toEqual(
        filled.flatMap((at) => new Array<number>(2 * (at + 1)).fill(2 * at)),
      );
    }
  });

  test('a thousand steps take no more memory than the first', async () => {
    const program = await runtime.compile(weightGradient());
    const rows = 512;
    const wide = zeroTensor('float32', [rows, 2]);
    const sum = upload([2, 2], 0, 0, 0, 0);
    const step = (): void => {
      const large = memory.upload(zeroTensor('float32', [rows, rows]));
      const tensors = { x: memory.upload(wide), 'd.y': memory.upload(wide), 'acc.grad.w': sum };
      program.run(tensors, { 'grad.w': sum });
      for (const tensor of [large, tensors.x, tensors['d.y']]) tensor.dispose();
      memory.read(sum, new Float32Array(4));
    };
    for (let at = 0; at < 100; at++) step();
    const [live, resident] = [memory.liveTensors, process.memoryUsage.rss()];
    for (let at = 0; at < 1000; at++) step();
    expect(memory.liveTensors).toBe(live);
    // A megabyte a step would be lost if one of them stayed.
    expect(process.memoryUsage.rss() - resident).toBeLessThan(200e6);
    sum.dispose();
  }, 120_000);

  test('what would end the process or compute nonsense is refused first', async () => {
    const onCpu = createRuntime({ threads: 1 });
    const there = await onCpu.compile(weightGradient());
    const here = await runtime.compile(weightGradient());
    const tensor = upload([1, 2], 1, 2);
    const acc = zeroTensor('float32', [2, 2]);
    const feeds = { x: tensor, 'd.y': tensor, 'acc.grad.w': acc };
    expect(() => there.run(feeds)).toThrow(
      /'x' lies in the memory of a GPU that this program does not run on/,
    );
    const other = createRuntime({ provider: 'webgpu' });
    expect(() => other.device?.read(tensor, new Float32Array(2))).toThrow(
      'a device tensor of another memory',
    );
    expect(() => memory.read(tensor, new Float32Array(3))).toThrow('does not fill 3 elements');
    expect(() => memory.upload(zeroTensor('int32', [1]))).toThrow(
      'the GPU holds float32 and float16, got int32',
    );
    tensor.dispose();
    expect(() => here.run(feeds)).toThrow(InvariantError);
    expect(() => here.run(feeds)).toThrow('a device tensor [1, 2] is used after dispose');
    expect(() => tensor.dispose()).toThrow('used after dispose');
    for (const each of [onCpu, other]) each.release();
  });

  test('what no adapter holds is a full adapter, and the memory goes on', () => {
    const before = memory.liveBytes;
    // The software adapter takes 2³⁰ bytes in one piece.
    const huge = tensorView('float32', [300, 1e6], new Float32Array(3e8));
    expect(() => memory.upload(huge)).toThrow(
      expect.objectContaining({
        code: 'runtime/out-of-memory',
        hint: expect.stringContaining('engine.deviceMemoryMB') as string,
      }),
    );
    expect(memory.liveBytes).toBe(before);
    upload([2], 1, 2).dispose();
  });

  test('the most there was at one time is told once', () => {
    memory.takePeakBytes();
    const before = memory.liveBytes;
    for (let at = 0; at < 3; at++) upload([100], ...new Array<number>(100).fill(at)).dispose();
    expect(memory.takePeakBytes() - before).toBe(400);
    expect(memory.takePeakBytes()).toBe(before);
  });

  test('a lost adapter and a full one are told from a bug', async () => {
    const native = loadBinding();
    const create = native.createSession.bind(native);
    let message = '';
    vi.spyOn(native, 'createSession').mockImplementation((model, options) => {
      const session = create(model, options);
      const run = () => {
        throw new Error(message);
      };
      return { run, endProfiling: () => session.endProfiling(), dispose: () => session.dispose() };
    });
    const other = createRuntime({ provider: 'webgpu' });
    const program = await other.compile(weightGradient());
    vi.restoreAllMocks();
    const feeds = Object.fromEntries(program.inputs.map((name) => [name, zeroTensor('float32', [2, 2])]));
    message = 'a kernel is wrong';
    expect(() => program.run(feeds)).toThrow(InvariantError);
    // What ONNX Runtime throws when nothing comes back from the adapter.
    message = 'Failed to download data from buffer. wgpu::MapAsyncStatus value: 3';
    expect(() => program.run(feeds)).toThrow(
      expect.objectContaining({
        code: 'runtime/device-lost',
        hint: expect.stringContaining('engine.provider "cpu"') as string,
      }),
    );
    // And what follows when a buffer could not be made there.
    message = 'WebGPU validation failed. [Invalid Buffer (unlabeled)] is invalid due to a previous error.';
    expect(() => program.run(feeds)).toThrow(expect.objectContaining({ code: 'runtime/out-of-memory' }));
    other.release();
  });

  test('the software adapter is found, and called what it is', async () => {
    expect(await findAdapter(probe)).toEqual({
      adapter: { kind: 'software', name: 'a software adapter', hasFloat16: false },
    });
  });
});

test('without a driver there is no adapter, and no crash', async () => {
  vi.stubEnv('VK_ICD_FILENAMES', '/nonexistent.json');
  expect(await findAdapter(probe)).toEqual({
    adapter: null,
    reason: 'No graphics adapter that WebGPU can use was found.',
  });
});

test('a probe that dies is a reason, not a crash', async () => {
  const deadly = { node: process.execPath, script: path.resolve(import.meta.dirname, 'no-such-file.ts') };
  const search = await findAdapter(deadly);
  expect(search.adapter).toBeNull();
  expect(search).toHaveProperty('reason', expect.stringContaining('could not be tried'));
});

/** From `x` and the gradient of `y = x w`, that of `w`, added to what is there. */
function weightGradient(): Graph {
  const builder = new GraphBuilder('product');
  const x = builder.input('x', 'float32', ['N', 2]);
  builder.output('y', op.matmul(x, builder.input('w', 'float32', [2, 2])));
  return accumulate(gradient(builder.build(), { outputs: ['y'], wrt: ['w'] }), ['grad.w']);
}
