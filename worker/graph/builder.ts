import { InvariantError, invariant } from '#core/contract/errors.ts';
import { canonicalDim } from './dims.ts';
import { Value } from './op-def.ts';
import type { Attrs, ConstantData, Graph, GraphOutput, InputValue, Node, NodeSink, OpDef } from './op-def.ts';
import { constantOp } from './ops/constant.ts';
import type { DType, Dim, TensorType } from './types.ts';

/**
 * Builds one graph. Types are inferred as each node is added, so that a mistake is reported from the line that made it,
 * with the path of the open scopes.
 */
export class GraphBuilder implements NodeSink {
  readonly name: string;
  readonly #inputs: InputValue[] = [];
  readonly #outputs: GraphOutput[] = [];
  readonly #nodes: Node[] = [];
  readonly #scopes: string[] = [];
  /** What names get in the copy that is built; '' outside copies. */
  #suffix = '';

  constructor(name: string) {
    this.name = name;
  }

  /** Declares a graph input. Symbolic sizes with equal names are equal across inputs. */
  input(given: string, dtype: DType, shape: readonly Dim[]): InputValue {
    invariant(given !== '', this.#at('an input needs a name'));
    const name = `${given}${this.#suffix}`;
    invariant(
      !this.#inputs.some((input) => input.name === name),
      this.#at(`input '${name}' is declared twice`),
    );
    const canonical = shape.map((dim) => {
      const size = canonicalDim(this.#ownSize(dim));
      invariant(size !== undefined, this.#at(`input '${name}': '${dim}' is not a size`));
      return size;
    });
    // A value built from a name has one.
    const value = new Value(this, { dtype, shape: canonical }, { name }) as InputValue;
    this.#inputs.push(value);
    return value;
  }

  /** A size as it is called in the copy that is built. */
  #ownSize(dim: Dim): Dim {
    return typeof dim === 'number'
      ? dim
      : dim.replaceAll(/[A-Za-z_][\w.]*/g, (name) => `${name}${this.#suffix}`);
  }

  /** A constant tensor; a plain number is a scalar, `float32` unless told otherwise. */
  constant(data: number | ConstantData, dtype: DType = 'float32'): Value {
    const full = typeof data === 'number' ? { dtype, shape: [], data: [data] } : data;
    const [value] = this.addNode(constantOp, [], {
      dtype: full.dtype,
      shape: full.shape,
      data: isTyped(full.data) ? full.data : [...full.data],
    });
    invariant(value !== undefined, 'a constant has one output');
    return value;
  }

  /** Names a value as a result of the graph. */
  output(given: string, value: Value): void {
    invariant(given !== '', this.#at('an output needs a name'));
    const name = `${given}${this.#suffix}`;
    invariant(value.sink === this, this.#at(`output '${name}' is a value of graph '${value.sink.name}'`));
    invariant(
      !this.#outputs.some((output) => output.name === name),
      this.#at(`output '${name}' is named twice`),
    );
    this.#outputs.push({ name, value });
  }

  /** Runs `build` with `name` added to the scope path; dots in `name` add several levels. */
  scope<T>(name: string, build: () => T): T {
    this.#scopes.push(name);
    try {
      return build();
    } finally {
      this.#scopes.pop();
    }
  }

  /**
   * Runs `build` for copy `index` of something that the graph holds several times: names of its inputs and outputs, and
   * the symbolic sizes of its inputs, get `.index`.
   */
  copy<T>(index: number, build: () => T): T {
    const outside = this.#suffix;
    this.#suffix = `${outside}.${index}`;
    try {
      return this.scope(String(index), build);
    } finally {
      this.#suffix = outside;
    }
  }

  /** Adds a node; ops are applied through their own functions, which call this. */
  addNode<A extends Attrs>(op: OpDef<A>, inputs: readonly Value[], attrs: A): readonly Value[] {
    for (const value of inputs) {
      invariant(
        value.sink === this,
        this.#at(`${op.name}: mixes a value of graph '${value.sink.name}' with graph '${this.name}'`),
      );
    }
    const types = this.#infer(op, inputs, attrs);
    const outputs: Value[] = [];
    const node: Node = { op, inputs, attrs, outputs, scope: this.#scopes.filter(Boolean).join('.') };
    types.forEach((type, index) => outputs.push(new Value(this, type, { node, index })));
    this.#nodes.push(node);
    return outputs;
  }

  /** The finished graph, without the nodes no output depends on. Inputs are kept, used or not. */
  build(): Graph {
    for (const { name } of this.#outputs) {
      const taken = this.#inputs.some((input) => input.name === name);
      invariant(!taken, this.#at(`'${name}' names both an input and an output`));
    }
    const live = new Set<Node>();
    const visit = (value: Value): void => {
      if (value.node === undefined || live.has(value.node)) return;
      live.add(value.node);
      value.node.inputs.forEach(visit);
    };
    for (const output of this.#outputs) visit(output.value);
    return {
      name: this.name,
      inputs: [...this.#inputs],
      outputs: [...this.#outputs],
      nodes: this.#nodes.filter((node) => live.has(node)),
    };
  }

  #infer<A extends Attrs>(op: OpDef<A>, inputs: readonly Value[], attrs: A): readonly TensorType[] {
    try {
      return op.infer(
        inputs.map((value) => value.type),
        attrs,
      );
    } catch (error) {
      if (!(error instanceof InvariantError)) throw error;
      throw new InvariantError(this.#at(`${op.name}: ${error.message}`), { cause: error });
    }
  }

  #at(message: string): string {
    return `${[this.name, ...this.#scopes].filter(Boolean).join('.')}: ${message}`;
  }
}

function isTyped(data: ConstantData['data']): data is Exclude<ConstantData['data'], readonly number[]> {
  return ArrayBuffer.isView(data);
}
