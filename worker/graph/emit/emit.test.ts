import onnxProto from 'onnx-proto';
import { expect, test } from 'vitest';
import { GraphBuilder, accumulate, emit, gradient, op } from '../index.ts';
import type { Dialect, ExternalData, Graph } from '../index.ts';

const { onnx } = onnxProto;

/** The model as an independent decoder reads it. */
function decode(graph: Graph, dialect: Dialect, external?: ReadonlyMap<string, ExternalData>) {
  const model = onnx.ModelProto.toObject(
    onnx.ModelProto.decode(emit(graph, dialect, external && { external })),
    {
      longs: Number,
    },
  );
  return model as {
    irVersion: number;
    opsetImport: { domain: string; version: number }[];
    graph: {
      name: string;
      node: {
        opType: string;
        domain: string;
        name: string;
        input: string[];
        output: string[];
        attribute?: { name: string; type: number; i?: number; f?: number; ints?: number[]; s?: Uint8Array }[];
      }[];
      initializer: {
        name: string;
        dims?: number[];
        dataType: number;
        rawData: Uint8Array;
        dataLocation?: number;
        externalData?: { key: string; value: string }[];
      }[];
      input: OnnxValue[];
      output: OnnxValue[];
    };
  };
}

interface OnnxValue {
  name: string;
  type: { tensorType: { elemType: number; shape: { dim: { dimValue?: number; dimParam?: string }[] } } };
}

function sample(): Graph {
  const builder = new GraphBuilder('sample');
  const x = builder.input('x', 'float32', ['N', 4]);
  const w = op.cast(builder.input('w', 'bfloat16', [6, 4]), 'float32');
  builder.scope('layers.0', () => {
    builder.output(
      'y',
      op.silu(op.matmul(op.slice(x, { axis: 0, start: 0, end: 3 }), w, { transB: true, alpha: -0.25 })),
    );
  });
  return builder.build();
}

test('a model decodes to what the graph says', () => {
  const { irVersion, opsetImport, graph } = decode(sample(), 'cpu');
  expect([irVersion, opsetImport]).toEqual([
    12,
    [
      { domain: '', version: 26 },
      { domain: 'com.microsoft', version: 1 },
    ],
  ]);
  expect(graph.name).toBe('sample');
  expect(
    graph.input.map(({ name, type: { tensorType } }) => [name, tensorType.elemType, tensorType.shape.dim]),
  ).toEqual([
    ['x', 1, [{ dimParam: 'N' }, { dimValue: 4 }]],
    ['w', 4, [{ dimValue: 6 }, { dimValue: 4 }]],
  ]);
  expect(graph.output.map(({ name }) => name)).toEqual(['y']);
  expect(graph.node.map(({ opType }) => opType)).toEqual(['BitCast', 'Cast', 'Slice', 'Gemm', 'QuickGelu']);
  const gemm = graph.node[3];
  expect(gemm?.name).toBe('layers.0/Gemm.3');
  expect(gemm?.attribute?.map(({ name, i, f }) => [name, i ?? f])).toEqual([
    ['transA', 0],
    ['transB', 1],
    ['alpha', -0.25],
  ]);
  expect(graph.node[4]?.output).toEqual(['y']);
});

test('a GPU reads float16 as what it is, and nothing of 16 bits else', () => {
  const widened = (dtype: 'float16' | 'bfloat16') => {
    const builder = new GraphBuilder('half');
    builder.output('y', op.cast(builder.input('x', dtype, ['N']), 'float32'));
    return builder.build();
  };
  const { graph } = decode(widened('float16'), 'webgpu');
  expect(graph.input.map(({ type }) => type.tensorType.elemType)).toEqual([10]);
  expect(graph.node.map(({ opType }) => opType)).toEqual(['Cast']);
  expect(() => emit(widened('bfloat16'), 'webgpu')).toThrow('a GPU widens float16 only');
});

test('equal small constants are written once, and their bytes are right', () => {
  const builder = new GraphBuilder('g');
  const x = builder.input('x', 'float32', ['N', 4]);
  builder.output('y', op.add(op.mul(x, -1.5), op.reduceSum(op.mul(x, -1.5), { axes: [1], keepDims: true })));
  const { graph } = decode(builder.build(), 'cpu');
  expect(graph.initializer.map(({ dataType, dims = [], rawData }) => [dataType, dims, [...rawData]])).toEqual(
    [
      [1, [], [0, 0, 0xc0, 0xbf]],
      [7, [1], [1, 0, 0, 0, 0, 0, 0, 0]],
    ],
  );
});

test('negative attributes and long strings survive the wire format', () => {
  const builder = new GraphBuilder('n'.repeat(300));
  const x = builder.input('x', 'float32', ['N', 4]);
  builder.output('y', op.softmax(x));
  const { graph } = decode(builder.build(), 'cpu');
  expect(graph.name).toHaveLength(300);
  expect(graph.node[0]?.attribute?.map(({ name, i }) => [name, i])).toEqual([['axis', -1]]);
});

test('an accumulated weight gradient is one Gemm whose addend is the accumulator', () => {
  const builder = new GraphBuilder('linear');
  const x = builder.input('x', 'float32', ['N', 4]);
  builder.output('y', op.matmul(x, builder.input('w', 'float32', [6, 4]), { transB: true }));
  const backward = accumulate(gradient(builder.build(), { outputs: ['y'], wrt: ['w'] }), ['grad.w']);
  const { node } = decode(backward, 'cpu').graph;
  expect(node.map(({ opType, input, output }) => [opType, input, output])).toEqual([
    ['Gemm', ['d.y', 'x', 'acc.grad.w'], ['grad.w']],
  ]);
  expect(node[0]?.attribute?.find(({ name }) => name === 'beta')?.f).toBe(1);
});

test('a second name for a result, and an input as a result, are copies', () => {
  const builder = new GraphBuilder('g');
  const x = builder.input('x', 'float32', ['N']);
  const y = op.exp(x);
  builder.output('y', y);
  builder.output('again', y);
  builder.output('same', op.stopGradient(x));
  const { node } = decode(builder.build(), 'cpu').graph;
  expect(node.map(({ opType, input, output }) => [opType, input, output])).toEqual([
    ['Exp', ['x'], ['y']],
    ['Identity', ['y'], ['again']],
    ['Identity', ['x'], ['same']],
  ]);
});

test('the reference dialect uses the default operator set only', () => {
  const domains = (dialect: Dialect): ReadonlySet<string> =>
    new Set(decode(sample(), dialect).graph.node.map(({ domain }) => domain));
  expect(domains('cpu')).toEqual(new Set(['', 'com.microsoft']));
  expect(domains('reference')).toEqual(new Set(['']));
});

test('a file is for older readers too, and its weights lie beside it in their own type', () => {
  const external = new Map([['w', { file: 'weights', offset: 5 * 2 ** 30, bytes: 48 }]]);
  const { irVersion, opsetImport, graph } = decode(sample(), 'portable', external);
  expect([irVersion, opsetImport]).toEqual([8, [{ domain: '', version: 18 }]]);
  expect(graph.input.map(({ name }) => name)).toEqual(['x']);
  expect(graph.initializer.find(({ name }) => name === 'w')).toEqual({
    name: 'w',
    dims: [6, 4],
    dataType: 16,
    dataLocation: 1,
    externalData: [
      { key: 'location', value: 'weights' },
      { key: 'offset', value: '5368709120' },
      { key: 'length', value: '48' },
    ],
  });
  expect(graph.node.map(({ opType }) => opType)).toEqual(['Cast', 'Slice', 'Gemm', 'Sigmoid', 'Mul']);
  expect(new Set(graph.node.map(({ domain }) => domain))).toEqual(new Set(['']));
});
