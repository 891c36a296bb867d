import { invariant } from '#core/contract/errors.ts';
import type { ConstantData, EmitOptions } from '../op-def.ts';
import { onnxTypeOf } from '../ops/select.ts';
import type { DType, Dim, TensorType, TypedArray } from '../types.ts';
import { ProtoWriter } from './proto-writer.ts';

/** Encoding of ONNX models; field numbers are those of onnx.proto (ONNX IR version 12). */

/** Where the values of a tensor are: bytes of a file in the folder of the model. */
export interface ExternalData {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

/** The version of ONNX itself, and those of its sets of operators by domain. */
export interface ModelVersions {
  readonly ir: number;
  readonly opsets: Readonly<Record<string, number>>;
}

/** One ONNX node. */
export interface OnnxNode {
  readonly opType: string;
  readonly domain: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attrs: NonNullable<EmitOptions['attrs']>;
}

/** A graph as ONNX has it. */
export interface OnnxGraph {
  readonly name: string;
  readonly inputs: readonly { readonly name: string; readonly type: TensorType }[];
  /** Without a type it is that of the node which makes it. */
  readonly outputs: readonly { readonly name: string; readonly type: TensorType | null }[];
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly { readonly name: string; readonly data: ConstantData }[];
  readonly external: readonly {
    readonly name: string;
    readonly type: TensorType;
    readonly data: ExternalData;
  }[];
}

/** The element type of half floats that are held as their bits. */
export function storageType(dtype: DType): DType {
  return dtype === 'bfloat16' || dtype === 'float16' ? 'uint16' : dtype;
}

/** The bytes of an ONNX model. */
export function encodeModel(graph: OnnxGraph, { ir, opsets }: ModelVersions): Uint8Array<ArrayBuffer> {
  const model = new ProtoWriter();
  model.int(1, ir);
  model.bytes(2, 'condenser');
  model.message(7, (proto) => writeGraph(proto, graph));
  for (const [domain, version] of Object.entries(opsets)) {
    model.message(8, (opset) => {
      opset.bytes(1, domain);
      opset.int(2, version);
    });
  }
  return model.finish();
}

function writeGraph(proto: ProtoWriter, graph: OnnxGraph): void {
  for (const node of graph.nodes) proto.message(1, (inner) => writeNode(inner, node));
  proto.bytes(2, graph.name);
  for (const { name, data } of graph.initializers)
    proto.message(5, (inner) => writeTensor(inner, name, data));
  for (const { name, type, data } of graph.external)
    proto.message(5, (inner) => writeExternal(inner, name, type, data));
  for (const { name, type } of graph.inputs) proto.message(11, (inner) => writeValueInfo(inner, name, type));
  for (const { name, type } of graph.outputs) proto.message(12, (inner) => writeValueInfo(inner, name, type));
}

function writeNode(proto: ProtoWriter, node: OnnxNode): void {
  for (const input of node.inputs) proto.bytes(1, input);
  for (const output of node.outputs) proto.bytes(2, output);
  proto.bytes(3, node.name);
  proto.bytes(4, node.opType);
  for (const [name, attr] of Object.entries(node.attrs)) {
    proto.message(5, (inner) => writeAttribute(inner, name, attr));
  }
  proto.bytes(7, node.domain);
}

function writeAttribute(proto: ProtoWriter, name: string, attr: OnnxNode['attrs'][string]): void {
  const kinds = { float: 1, int: 2, string: 3, ints: 7 };
  proto.bytes(1, name);
  if (typeof attr === 'number') {
    proto.int(3, attr);
    proto.int(20, kinds.int);
  } else if (typeof attr === 'string') {
    proto.bytes(4, attr);
    proto.int(20, kinds.string);
  } else if ('float' in attr) {
    proto.float(2, attr.float);
    proto.int(20, kinds.float);
  } else {
    proto.ints(8, attr);
    proto.int(20, kinds.ints);
  }
}

function writeTensor(proto: ProtoWriter, name: string, { dtype, shape, data }: ConstantData): void {
  proto.ints(1, shape);
  proto.int(2, onnxTypeOf[storageType(dtype)]);
  proto.bytes(8, name);
  const array = typedArrayOf(dtype, data);
  proto.bytes(9, new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
}

function writeExternal(
  proto: ProtoWriter,
  name: string,
  { dtype, shape }: TensorType,
  { file, offset, bytes }: ExternalData,
): void {
  const isExternal = 1;
  proto.ints(
    1,
    shape.map((dim) => {
      invariant(typeof dim === 'number', `${name} lies in a file and has a size ${dim}`);
      return dim;
    }),
  );
  proto.int(2, onnxTypeOf[dtype]);
  proto.bytes(8, name);
  for (const [key, value] of Object.entries({ location: file, offset, length: bytes })) {
    proto.message(13, (entry) => {
      entry.bytes(1, key);
      entry.bytes(2, String(value));
    });
  }
  proto.int(14, isExternal);
}

function writeValueInfo(proto: ProtoWriter, name: string, type: TensorType | null): void {
  proto.bytes(1, name);
  if (type === null) return;
  proto.message(2, (typeProto) =>
    typeProto.message(1, (tensor) => {
      tensor.int(1, onnxTypeOf[type.dtype]);
      tensor.message(2, (shape) => {
        for (const dim of type.shape) shape.message(1, (inner) => writeDim(inner, dim));
      });
    }),
  );
}

function writeDim(proto: ProtoWriter, dim: Dim): void {
  if (typeof dim === 'number') proto.int(1, dim);
  else proto.bytes(2, dim);
}

/** Constant data in the array type its element type is stored in. */
function typedArrayOf(dtype: DType, data: readonly number[] | TypedArray): TypedArray {
  const numbers = Array.from<number | bigint, number>(data, Number);
  switch (dtype) {
    case 'float32':
      return data instanceof Float32Array ? data : Float32Array.from(numbers);
    case 'float64':
      return Float64Array.from(numbers);
    case 'int64':
      return data instanceof BigInt64Array ? data : BigInt64Array.from(numbers, (value) => BigInt(value));
    case 'int32':
      return Int32Array.from(numbers);
    case 'float16':
    case 'bfloat16':
    case 'uint16':
      return Uint16Array.from(numbers);
    case 'int8':
      return Int8Array.from(numbers);
    case 'uint8':
    case 'bool':
      return Uint8Array.from(numbers);
  }
}
