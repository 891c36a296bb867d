import { afterAll, expect, test } from 'vitest';
import { InvariantError } from '#core/contract/errors.ts';
import { GraphBuilder, accumulate, gradient, op } from '#worker/graph/index.ts';
import type { Graph } from '#worker/graph/index.ts';
import { createRuntime, listProviders, tensorView, zeroTensor } from './index.ts';
import type { TensorView } from './index.ts';

const runtime = createRuntime({ threads: 2 });
afterAll(() => runtime.release());

/** y = 2 x w. */
function product(): Graph {
  const builder = new GraphBuilder('product');
  const x = builder.input('x', 'float32', ['N', 2]);
  builder.output('y', op.matmul(x, builder.input('w', 'float32', [2, 2]), { alpha: 2 }));
  return builder.build();
}

const floats = (shape: readonly number[], ...values: number[]): TensorView =>
  tensorView('float32', shape, Float32Array.from(values));
const w = floats([2, 2], 1, 2, 3, 4);

test('outputs go to the fetched memory, or are returned when not fetched', async () => {
  const program = await runtime.compile(product());
  const x = floats([1, 2], 1, 1);
  expect(program.run({ x, w })['y']).toEqual({
    dtype: 'float32',
    shape: [1, 2],
    data: Float32Array.of(8, 12),
  });
  const y = zeroTensor('float32', [1, 2]);
  expect(program.run({ x, w }, { y })).toEqual({});
  expect([...y.data]).toEqual([8, 12]);
});

test.each([
  ['a shared buffer', () => new SharedArrayBuffer(64)],
  ['a WebAssembly memory', () => wasmBuffer({ initial: 1 })],
  ['a 64-bit WebAssembly memory', () => wasmBuffer({ initial: 1n, address: 'i64' })],
  [
    'a shared 64-bit WebAssembly memory',
    () => wasmBuffer({ initial: 1n, maximum: 2n, address: 'i64', shared: true }),
  ],
])('views of %s are read and written in place', async (_name, allocate) => {
  const program = await runtime.compile(product());
  const buffer = allocate();
  const x = tensorView('float32', [2, 2], new Float32Array(buffer, 16, 4));
  const y = tensorView('float32', [2, 2], new Float32Array(buffer, 32, 4));
  new Float32Array(buffer, 16, 4).set([1, 0, 0, 1]);
  program.run({ x, w }, { y });
  expect([...new Float32Array(buffer, 32, 4)]).toEqual([2, 4, 6, 8]);
  expect([...new Float32Array(buffer, 16, 4)]).toEqual([1, 0, 0, 1]);
});

test('a gradient is added up in place over runs when its fetch is the accumulator itself', async () => {
  const graph = accumulate(gradient(product(), { outputs: ['y'], wrt: ['w'] }), ['grad.w']);
  const program = await runtime.compile(graph);
  const sum = zeroTensor('float32', [2, 2]);
  for (let run = 0; run < 3; run++) {
    program.run(
      { x: floats([1, 2], 1, 2), 'd.y': floats([1, 2], 1, 10), 'acc.grad.w': sum },
      { 'grad.w': sum },
    );
  }
  expect([...sum.data]).toEqual([6, 60, 12, 120]);
});

test('a sum that is no product adds up in place too', async () => {
  const builder = new GraphBuilder('scale');
  const x = builder.input('x', 'float32', ['N', 2]);
  builder.output('y', op.mul(x, builder.input('w', 'float32', [2])));
  const graph = accumulate(gradient(builder.build(), { outputs: ['y'], wrt: ['w', 'x'] }), [
    'grad.w',
    'grad.x',
  ]);
  const program = await runtime.compile(graph);
  const [sumW, sumX] = [zeroTensor('float32', [2]), zeroTensor('float32', [2, 2])];
  for (let run = 0; run < 2; run++) {
    program.run(
      {
        x: floats([2, 2], 1, 2, 3, 4),
        w: floats([2], 5, 6),
        'd.y': floats([2, 2], 1, 1, 1, 1),
        'acc.grad.w': sumW,
        'acc.grad.x': sumX,
      },
      { 'grad.w': sumW, 'grad.x': sumX },
    );
  }
  expect([...sumW.data]).toEqual([8, 12]);
  expect([...sumX.data]).toEqual([10, 12, 10, 12]);
});

test('an empty batch runs', async () => {
  const program = await runtime.compile(product());
  expect(program.run({ x: zeroTensor('float32', [0, 2]), w })['y']?.shape).toEqual([0, 2]);
});

test('equal graphs share a program until the last user releases it', async () => {
  const first = await runtime.compile(product());
  const second = await runtime.compile(product());
  const other = await runtime.compile(product(), { dialect: 'reference' });
  expect(second).toBe(first);
  expect(other).not.toBe(first);
  const own = createRuntime({ threads: 1, arena: false });
  const a = await own.compile(product());
  await own.compile(product());
  a.release();
  expect(a.run({ x: floats([1, 2], 1, 1), w })['y']?.data[0]).toBe(8);
  a.release();
  expect(() => a.run({ x: floats([1, 2], 1, 1), w })).toThrow('product: run after release');
  expect(await own.compile(product())).not.toBe(a);
  own.release();
});

test.each<[string, Record<string, TensorView>, Record<string, TensorView>, RegExp]>([
  ['a missing input', { x: w }, {}, /^product: input 'w' is missing$/],
  ['an unknown input', { x: w, w, v: w }, {}, /^product: has no input 'v'; it has x, w$/],
  ['an unknown output', { x: w, w }, { z: w }, /^product: has no output 'z'; it has y$/],
  ['a wrong size', { x: floats([1, 3], 1, 2, 3), w }, {}, /^product: .*invalid dimensions for input: x/s],
  ['a wrong fetch shape', { x: w, w }, { y: floats([1, 2], 0, 0) }, /^product: /],
  ['a wrong type', { x: zeroTensor('float64', [2, 2]), w }, {}, /^product: .*Unexpected input data type/s],
  [
    'data that does not fill the shape',
    { x: { dtype: 'float32', shape: [2, 2], data: new Float32Array(3) }, w },
    {},
    /^product: input 'x' as float32\[2, 2\] over Float32Array of 3: /,
  ],
])('%s is an error that names the program', async (_name, feeds, fetches, message) => {
  const program = await runtime.compile(product());
  expect(() => program.run(feeds, fetches)).toThrow(InvariantError);
  expect(() => program.run(feeds, fetches)).toThrow(message);
});

test('running out of memory is an error for the user', async () => {
  const builder = new GraphBuilder('huge');
  const like = builder.input('like', 'float32', ['N']);
  const wide = op.expand(op.unsqueeze(like, { axes: [0] }), [2 ** 41, 'N']);
  builder.output('y', op.reduceSum(op.mul(wide, wide), { axes: [0, 1] }));
  const program = await runtime.compile(builder.build());
  const run = (): unknown => program.run({ like: floats([1], 1) });
  expect(run).toThrow(expect.objectContaining({ code: 'runtime/out-of-memory' }));
  expect(run).toThrow(/^Not enough memory to run 'huge': /);
});

test('a model that ONNX Runtime refuses is an error that names graph and dialect', async () => {
  const builder = new GraphBuilder('doubles');
  builder.output('y', op.softplus(builder.input('x', 'float64', [2])));
  await expect(runtime.compile(builder.build())).rejects.toThrow(
    /^doubles: ONNX Runtime refuses the cpu model: /,
  );
});

test('a tensor view checks its array', () => {
  expect(() => tensorView('float32', [2, 2], new Float32Array(3))).toThrow(
    'float32[2, 2] needs a Float32Array of 4, got Float32Array of 3',
  );
  expect(() => tensorView('bfloat16', [1], new Float32Array(1))).toThrow('needs a Uint16Array of 1');
});

test('the CPU provider is usable; every other says why it is not', () => {
  const none = { adapter: null, reason: 'There is none.' };
  expect(listProviders(none)).toMatchObject([
    { name: 'cpu', usable: true },
    { name: 'webgpu', usable: false, reason: 'There is none.' },
    { name: 'cuda', usable: false },
  ]);
  const [, software] = listProviders({
    adapter: { kind: 'software', name: 'a software adapter', hasFloat16: false },
  });
  expect(software?.usable).toBe(false);
  expect(software?.reason).toContain('slower than the CPU');
  const [, gpu] = listProviders({ adapter: { kind: 'gpu', name: 'NVIDIA GPU', hasFloat16: true } });
  expect(gpu?.usable).toBe(true);
  expect(gpu?.reason).toMatch(/^NVIDIA GPU with float16; taken where/);
  expect(listProviders(none, 'plan9', 'mips')[0]).toEqual({
    name: 'cpu',
    usable: false,
    reason: 'The installed ONNX Runtime has no build for plan9 on mips.',
  });
});

/** The compiler's library has no types for WebAssembly without those of a browser. */
function wasmBuffer(descriptor: object): ArrayBuffer {
  const wasm = Reflect.get(globalThis, 'WebAssembly') as {
    Memory: new (options: object) => { buffer: ArrayBuffer };
  };
  return new wasm.Memory(descriptor).buffer;
}

test('what is fetched is not copied, and what is wrong with a run is still said', async () => {
  const builder = new GraphBuilder('large');
  builder.output('y', op.mul(builder.input('x', 'float32', ['N', 1024]), 2));
  builder.output('sum', op.reduceSum(builder.input('z', 'float32', ['M', 1024]), { axes: [1] }));
  const program = await runtime.compile(builder.build());
  const x = tensorView('float32', [1024, 1024], new Float32Array(1024 * 1024).fill(3));
  const y = zeroTensor('float32', [1024, 1024]);
  const sum = zeroTensor('float32', [1024]);
  const before = process.memoryUsage().arrayBuffers;
  expect(program.run({ x, z: x }, { y, sum })).toEqual({});
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2e6);
  expect([y.data[0], y.data.at(-1), sum.data[0], sum.data.at(-1)]).toEqual([6, 6, 3072, 3072]);
  const short = zeroTensor('float32', [1023, 1024]);
  expect(() => program.run({ x, z: x }, { y: short, sum })).toThrow(/large: .*1023/s);
  expect(program.run({ x, z: x }, { sum })['y']?.data.at(-1)).toBe(6);
});
