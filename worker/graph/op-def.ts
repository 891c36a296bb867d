import { invariant } from '#core/contract/errors.ts';
import type { DType, Dim, TensorType, TypedArray } from './types.ts';

/**
 * The intermediate representation: typed single-assignment values, the nodes that compute them, and what one operation
 * must say about itself.
 */

/** What an attribute of an op can hold; `undefined` is an attribute left at the op's default. */
export type Attr = number | string | boolean | readonly Dim[] | TypedArray | undefined;
/** The attributes of a node. */
export type Attrs = Readonly<Record<string, Attr>>;

/**
 * Where graphs are emitted for: ONNX Runtime's CPU provider, its WebGPU provider, plain ONNX (also in float64) to check them
 * against, or files that any reader of ONNX loads.
 */
export type Dialect = 'cpu' | 'webgpu' | 'reference' | 'portable';

/** What a builder offers to the ops; implemented by `GraphBuilder`. */
export interface NodeSink {
  readonly name: string;
  addNode<A extends Attrs>(op: OpDef<A>, inputs: readonly Value[], attrs: A): readonly Value[];
  constant(data: number | ConstantData, dtype?: DType): Value;
}

/** Data of a constant tensor, row-major. */
export interface ConstantData {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: readonly number[] | TypedArray;
}

/** A typed value of a graph under construction: an input (which has a name) or one output of a node. */
export class Value {
  readonly type: TensorType;
  readonly sink: NodeSink;
  /** The node that computes it; `undefined` for a graph input. */
  readonly node: Node | undefined;
  /** Which of the node's outputs it is. */
  readonly index: number;
  /** The graph input's name. */
  readonly name: string | undefined;

  constructor(sink: NodeSink, type: TensorType, origin: { node: Node; index: number } | { name: string }) {
    this.sink = sink;
    this.type = type;
    this.node = 'node' in origin ? origin.node : undefined;
    this.index = 'node' in origin ? origin.index : 0;
    this.name = 'name' in origin ? origin.name : undefined;
  }

  get dtype(): DType {
    return this.type.dtype;
  }

  get shape(): readonly Dim[] {
    return this.type.shape;
  }

  get rank(): number {
    return this.type.shape.length;
  }
}

/** A value that is a graph input. */
export type InputValue = Value & { readonly name: string };

/** One operation applied to values. */
export interface Node {
  readonly op: OpDef;
  readonly inputs: readonly Value[];
  readonly attrs: Attrs;
  readonly outputs: readonly Value[];
  /** Path of the scopes it was built in, e.g. `layers.3.router`; empty at the top. */
  readonly scope: string;
}

/** A finished graph; `nodes` are in topological order. */
export interface Graph {
  readonly name: string;
  readonly inputs: readonly InputValue[];
  readonly outputs: readonly GraphOutput[];
  readonly nodes: readonly Node[];
}

/** A named result of a graph. */
export interface GraphOutput {
  readonly name: string;
  readonly value: Value;
}

/** What a vector-Jacobian rule is given: the node's values in the backward graph, and the gradients of its outputs. */
export interface VjpSite<A extends Attrs> {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attrs: A;
  /** Per output, its gradient, or `undefined` when nothing depends on it. */
  readonly grads: readonly (Value | undefined)[];
  /** Per input, whether its gradient is asked for. */
  readonly needs: readonly boolean[];
}

/** Gives the gradient of each input (`undefined` for one that gets none). */
export type VjpRule<A extends Attrs> = {
  rule(site: VjpSite<A>): readonly (Value | undefined)[];
}['rule'];

/**
 * How gradients pass an op: a rule, `'stop'` (the derivative is zero or taken to be), or unsupported, with the reason.
 */
export type Vjp<A extends Attrs> = VjpRule<A> | 'stop' | { readonly unsupported: string };

/** Options of an emitted ONNX node. */
export interface EmitOptions {
  readonly attrs?: Readonly<Record<string, number | string | readonly number[] | { readonly float: number }>>;
  readonly domain?: string;
  readonly outputs?: number;
}

/** What a lowering writes ONNX nodes with; tensors are named by strings, `''` is an absent optional input. */
export interface Emitter {
  /** Adds a node with one output, and gives that output's name. */
  node(opType: string, inputs: readonly string[], options?: EmitOptions): string;
  /** Adds a node with `options.outputs` outputs. */
  nodes(opType: string, inputs: readonly string[], options: EmitOptions): readonly string[];
  constant(data: ConstantData): string;
  /** A one-dimensional int64 constant. */
  int64s(values: readonly number[]): string;
  /** An int64 tensor holding a shape, with symbolic sizes read from the graph inputs that carry them. */
  shapeTensor(dims: readonly Dim[]): string;
}

/** What a lowering is given. */
export interface LowerSite<A extends Attrs> {
  readonly emitter: Emitter;
  /** ONNX tensor names of the node's inputs. */
  readonly inputs: readonly string[];
  readonly inputTypes: readonly TensorType[];
  readonly outputTypes: readonly TensorType[];
  readonly attrs: A;
}

/** Writes a node as ONNX nodes; gives the names of its outputs (a single string for one output). */
export type Lower<A extends Attrs> = {
  lower(site: LowerSite<A>): string | readonly string[];
}['lower'];

/** All there is to know about one operation. */
export interface OpDef<A extends Attrs = Attrs> {
  readonly name: string;
  /** Output types from input types; broken expectations throw `InvariantError` naming the types. */
  infer(inputs: readonly TensorType[], attrs: A): readonly TensorType[];
  readonly vjp: Vjp<A>;
  readonly lower: Readonly<Record<Dialect, Lower<A>>>;
}

/** Applies an op to values of one graph and gives all its outputs. */
export function applyAll<A extends Attrs>(
  op: OpDef<A>,
  inputs: readonly Value[],
  attrs: A,
): readonly Value[] {
  const first = inputs[0];
  invariant(first !== undefined, `${op.name}: needs at least one value`);
  return first.sink.addNode(op, inputs, attrs);
}

/** Applies an op and gives its first output. */
export function apply<A extends Attrs>(op: OpDef<A>, inputs: readonly Value[], attrs: A): Value {
  const output = applyAll(op, inputs, attrs)[0];
  invariant(output !== undefined, `${op.name}: has no output`);
  return output;
}

/** The same lowering in every dialect. */
export function everywhere<A extends Attrs>(lower: Lower<A>): Readonly<Record<Dialect, Lower<A>>> {
  return { cpu: lower, webgpu: lower, reference: lower, portable: lower };
}

/** A lowering of its own for the CPU provider, and plain ONNX elsewhere. */
export function fusedOnCpu<A extends Attrs>(
  cpu: Lower<A>,
  plain: Lower<A>,
): Readonly<Record<Dialect, Lower<A>>> {
  return { cpu, webgpu: plain, reference: plain, portable: plain };
}

/** One lowering for both providers, and another in plain ONNX where theirs has no float64 kernel. */
export function onProviders<A extends Attrs>(
  provider: Lower<A>,
  reference: Lower<A>,
): Readonly<Record<Dialect, Lower<A>>> {
  return { cpu: provider, webgpu: provider, reference, portable: reference };
}

/** A lowering to one ONNX node of the default domain with the same inputs and no attributes. */
export function onnxOp(opType: string): Readonly<Record<Dialect, Lower<Attrs>>> {
  return everywhere(({ emitter, inputs }) => emitter.node(opType, inputs));
}
