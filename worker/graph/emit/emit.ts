import { invariant } from '#core/contract/errors.ts';
import { dimExpression } from '../dims.ts';
import type {
  ConstantData,
  Dialect,
  EmitOptions,
  Emitter,
  Graph,
  GraphOutput,
  Node,
  Value,
} from '../op-def.ts';
import { onnxTypeOf } from '../ops/select.ts';
import { fuseGemm } from '../passes/fuse-gemm.ts';
import { mergeEqual } from '../passes/merge-equal.ts';
import type { Dim, TensorType } from '../types.ts';
import { encodeModel, storageType } from './model-proto.ts';
import type { ExternalData, ModelVersions, OnnxNode } from './model-proto.ts';

/**
 * Version 26 of the operator set is the first with BitCast, and 23 the last of which the WebGPU provider has shape operators,
 * transposes and reductions; of later ones it leaves them to the CPU. 18 is the first in which reductions take their axes as
 * inputs: files are for older readers too.
 */
const versions: Readonly<Record<Dialect, ModelVersions>> = {
  cpu: { ir: 12, opsets: { '': 26, 'com.microsoft': 1 } },
  webgpu: { ir: 12, opsets: { '': 23, 'com.microsoft': 1 } },
  reference: { ir: 12, opsets: { '': 26, 'com.microsoft': 1 } },
  portable: { ir: 8, opsets: { '': 18 } },
};

/** What a model has beside its graph. */
export interface ModelExtras {
  /** Name of one more output before all others, a bfloat16 scalar: JavaScript has no tensors of that type. */
  readonly unreadable?: string;
  /** Inputs whose values lie in a file beside the model: they are no inputs of it. They have their own types. */
  readonly external?: ReadonlyMap<string, ExternalData>;
}

/**
 * The graph as the bytes of an ONNX model. `cpu` and `webgpu` fuse and use the operators that ONNX Runtime's provider of
 * that name is right and fast at; `reference` stays with plain ONNX operators, which also have float64 kernels.
 * `float16` and `bfloat16` inputs and outputs are declared `uint16`: their bits; but `float16` ones of `webgpu`, whose tensors have
 * that type. `portable` is plain ONNX as well, for files.
 */
export function emit(graph: Graph, dialect: Dialect, extras: ModelExtras = {}): Uint8Array<ArrayBuffer> {
  const ready = dialect === 'reference' ? graph : fuseGemm(mergeEqual(graph));
  return new GraphEmitter(ready, dialect).encode(versions[dialect], extras);
}

/** Longest constant that is compared with earlier ones to be written only once. */
const sharedConstantLength = 16;

class GraphEmitter implements Emitter {
  readonly #graph: Graph;
  readonly #dialect: Dialect;
  readonly #nodes: OnnxNode[] = [];
  readonly #initializers: { readonly name: string; readonly data: ConstantData }[] = [];
  readonly #constants = new Map<string, string>();
  readonly #sizes = new Map<Dim, string>();
  readonly #names = new Map<Value, string>();
  #scope = '';

  constructor(graph: Graph, dialect: Dialect) {
    this.#graph = graph;
    this.#dialect = dialect;
    for (const input of graph.inputs) this.#names.set(input, input.name);
    for (const node of graph.nodes) this.#lower(node);
  }

  node(opType: string, inputs: readonly string[], options: EmitOptions = {}): string {
    const [output] = this.nodes(opType, inputs, { ...options, outputs: 1 });
    invariant(output !== undefined, 'a node has an output');
    return output;
  }

  nodes(
    opType: string,
    inputs: readonly string[],
    { attrs = {}, domain = '', outputs = 1 }: EmitOptions,
  ): readonly string[] {
    const id = this.#nodes.length;
    const names = Array.from({ length: outputs }, (_unused, index) => `%${id}.${index}`);
    this.#nodes.push({
      opType,
      domain,
      attrs,
      inputs,
      outputs: names,
      name: `${this.#scope}/${opType}.${id}`,
    });
    return names;
  }

  constant(data: ConstantData): string {
    const share = data.data.length <= sharedConstantLength;
    const key = share ? `${data.dtype}[${data.shape.join()}](${data.data.join()})` : '';
    const known = share ? this.#constants.get(key) : undefined;
    if (known !== undefined) return known;
    const name = `%constant.${this.#initializers.length}`;
    this.#initializers.push({ name, data });
    if (share) this.#constants.set(key, name);
    return name;
  }

  int64s(values: readonly number[]): string {
    return this.constant({ dtype: 'int64', shape: [values.length], data: values });
  }

  shapeTensor(dims: readonly Dim[]): string {
    const parts: string[] = [];
    let numbers: number[] = [];
    const flush = (): void => {
      if (numbers.length > 0) parts.push(this.int64s(numbers));
      numbers = [];
    };
    for (const dim of dims) {
      if (typeof dim === 'number') numbers.push(dim);
      else {
        flush();
        parts.push(this.#size(dim));
      }
    }
    flush();
    const [only] = parts;
    if (only === undefined) return this.int64s([]);
    return parts.length === 1 ? only : this.node('Concat', parts, { attrs: { axis: 0 } });
  }

  encode(
    modelVersions: ModelVersions,
    { unreadable, external = new Map<string, ExternalData>() }: ModelExtras,
  ): Uint8Array<ArrayBuffer> {
    const rename = this.#outputNames();
    const renamed = (names: readonly string[]): readonly string[] =>
      names.map((name) => rename.get(name) ?? name);
    const before: { readonly name: string; readonly type: null }[] = [];
    if (unreadable !== undefined) {
      const zero = this.constant({ dtype: 'float32', shape: [], data: [0] });
      rename.set(this.node('Cast', [zero], { attrs: { to: onnxTypeOf.bfloat16 } }), unreadable);
      before.push({ name: unreadable, type: null });
    }
    const model = {
      name: this.#graph.name,
      inputs: this.#graph.inputs
        .filter(({ name }) => !external.has(name))
        .map(({ name, type }) => ({ name, type: this.#typeOutside(type) })),
      external: this.#graph.inputs.flatMap(({ name, type }) => {
        const data = external.get(name);
        return data === undefined ? [] : [{ name, type, data }];
      }),
      outputs: [
        ...before,
        ...this.#graph.outputs.map(({ name, value }) => ({ name, type: this.#typeOutside(value.type) })),
      ],
      nodes: this.#nodes.map((node) => ({
        ...node,
        inputs: renamed(node.inputs),
        outputs: renamed(node.outputs),
      })),
      initializers: this.#initializers,
    };
    return encodeModel(model, modelVersions);
  }

  #lower(node: Node): void {
    this.#scope = node.scope;
    const lowered = node.op.lower[this.#dialect]({
      emitter: this,
      inputs: node.inputs.map((input) => this.#nameOf(input)),
      inputTypes: node.inputs.map((input) => input.type),
      outputTypes: node.outputs.map((output) => output.type),
      attrs: node.attrs,
    });
    const names = typeof lowered === 'string' ? [lowered] : lowered;
    invariant(names.length === node.outputs.length, `${node.op.name}: the lowering lost an output`);
    node.outputs.forEach((output, index) => this.#names.set(output, names[index] ?? ''));
  }

  /** What inputs and outputs of a type are declared as. */
  #typeOutside({ dtype, shape }: TensorType): TensorType {
    return { dtype: this.#dialect === 'webgpu' ? dtype : storageType(dtype), shape };
  }

  /** A one-element int64 tensor with the value of a symbolic size. */
  #size(dim: Dim): string {
    const known = this.#sizes.get(dim);
    if (known !== undefined) return known;
    const name = this.#computeSize(dim);
    this.#sizes.set(dim, name);
    return name;
  }

  #computeSize(dim: Dim): string {
    const expression = dimExpression(dim);
    switch (expression.kind) {
      case 'number':
        return this.int64s([expression.value]);
      case 'name': {
        const carrier = this.#graph.inputs.find((input) => input.shape.includes(dim));
        invariant(
          carrier !== undefined,
          `${this.#graph.name}: no input carries the size ${expression.name}, so it cannot be computed`,
        );
        const axis = carrier.shape.indexOf(dim);
        return this.node('Shape', [carrier.name], { attrs: { start: axis, end: axis + 1 } });
      }
      case 'product':
      case 'sum': {
        const opType = expression.kind === 'product' ? 'Mul' : 'Add';
        return expression.parts
          .map((part) => this.#size(part))
          .reduce((total, part) => this.node(opType, [total, part]));
      }
    }
  }

  /**
   * The graph's own names for the tensors that are results. The tensor is renamed where it is made, so that fetching into
   * a given buffer writes there directly; only a second name, or a name for an input or a constant, costs a copy.
   */
  #outputNames(): Map<string, string> {
    const made = new Set(this.#nodes.flatMap((node) => node.outputs));
    const rename = new Map<string, string>();
    const copied: GraphOutput[] = [];
    for (const output of this.#graph.outputs) {
      const tensor = this.#nameOf(output.value);
      if (made.has(tensor) && !rename.has(tensor)) rename.set(tensor, output.name);
      else copied.push(output);
    }
    for (const { name, value } of copied) rename.set(this.node('Identity', [this.#nameOf(value)]), name);
    return rename;
  }

  #nameOf(value: Value): string {
    const name = this.#names.get(value);
    invariant(name !== undefined, `${this.#graph.name}: a node comes before a value it uses`);
    return name;
  }
}
