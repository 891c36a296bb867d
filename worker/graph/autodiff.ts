import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder } from './builder.ts';
import type { Graph, Node, Value } from './op-def.ts';
import { add } from './ops/arithmetic.ts';
import { zeros } from './ops/shape.ts';
import { dropUnusedInputs } from './passes/drop-unused-inputs.ts';
import { mergeEqual } from './passes/merge-equal.ts';
import { copyNodes, mapped } from './rewrite.ts';
import { formatType, isFloat } from './types.ts';

/** What to differentiate, and what the backward graph may rely on. */
export interface GradientOptions {
  /** Outputs of the forward graph whose cotangents `d.<output>` the backward graph is given. */
  readonly outputs: readonly string[];
  /** Inputs of the forward graph whose gradients `grad.<input>` are wanted. */
  readonly wrt: readonly string[];
  /** Forward outputs that are kept: they become inputs of the same name and are not computed again. */
  readonly saved?: readonly string[];
  /** Forward outputs the backward graph returns as well. */
  readonly valueToo?: readonly string[];
}

/**
 * The backward graph by reverse-mode differentiation: the vector-Jacobian product of `outputs` with their cotangents, for
 * each of `wrt`. Forward values it needs are computed again unless saved. Its inputs are those forward inputs that are
 * really needed (in their order), the saved values, and the cotangents. An input no output depends on gets zeros.
 * @throws InvariantError when a gradient would have to pass an op that does not support it.
 */
export function gradient(graph: Graph, { outputs, wrt, saved = [], valueToo = [] }: GradientOptions): Graph {
  const into = new GraphBuilder(`${graph.name}.grad`);
  const values = new Map<Value, Value>();
  for (const input of graph.inputs) values.set(input, into.input(input.name, input.dtype, input.shape));
  for (const name of saved) {
    const value = outputNamed(graph, name);
    invariant(value.node !== undefined, `${graph.name}: saved output '${name}' is an input already`);
    values.set(value, into.input(name, value.dtype, value.shape));
  }
  copyNodes(graph, into, values);

  const gradients = new Map<Value, Value>();
  const flow = (to: Value, gradientOfUse: Value): void => {
    const sofar = gradients.get(to);
    gradients.set(to, sofar === undefined ? gradientOfUse : add(sofar, gradientOfUse));
  };
  const targets = wrt.map((name) => inputNamed(graph, name));
  const active = activeValues(graph, targets);
  for (const name of outputs) {
    const value = outputNamed(graph, name);
    invariant(
      isFloat(value.dtype),
      `${graph.name}: output '${name}' is ${formatType(value.type)}, not float`,
    );
    const cotangent = into.input(`d.${name}`, value.dtype, value.shape);
    if (active.has(value)) flow(value, cotangent);
  }
  for (const node of graph.nodes.toReversed()) {
    into.scope(node.scope, () => differentiateNode(graph, node, { active, gradients, values, flow }));
  }

  wrt.forEach((name, index) => {
    const target = targets[index];
    invariant(target !== undefined, 'every name has a target');
    into.output(`grad.${name}`, gradients.get(target) ?? zeros(mapped(values, target), target.type));
  });
  for (const name of valueToo) into.output(name, mapped(values, outputNamed(graph, name)));
  return dropUnusedInputs(mergeEqual(into.build()));
}

interface Differentiation {
  readonly active: ReadonlySet<Value>;
  readonly gradients: ReadonlyMap<Value, Value>;
  readonly values: ReadonlyMap<Value, Value>;
  readonly flow: (to: Value, gradientOfUse: Value) => void;
}

/** Passes the gradients of a node's outputs on to its inputs. */
function differentiateNode(
  graph: Graph,
  node: Node,
  { active, gradients, values, flow }: Differentiation,
): void {
  const { vjp, name } = node.op;
  const grads = node.outputs.map((output) => gradients.get(output));
  const needs = node.inputs.map((input) => active.has(input));
  if (vjp === 'stop' || !grads.some(Boolean) || !needs.some(Boolean)) return;
  invariant(
    typeof vjp === 'function',
    `${[graph.name, node.scope].filter(Boolean).join('.')}: ${name} is not differentiable: ${
      typeof vjp === 'function' ? '' : vjp.unsupported
    }`,
  );
  const inputs = node.inputs.map((input) => mapped(values, input));
  const outputs = node.outputs.map((output) => mapped(values, output));
  const contributions = vjp({ inputs, outputs, attrs: node.attrs, grads, needs });
  node.inputs.forEach((input, index) => {
    const contribution = contributions[index];
    if (!needs[index]) return;
    invariant(contribution !== undefined, `${name}: the gradient rule left out input ${index}`);
    flow(input, contribution);
  });
}

/** The float values that depend on a target through ops gradients can pass. */
function activeValues(graph: Graph, targets: readonly Value[]): ReadonlySet<Value> {
  const active = new Set(targets);
  for (const node of graph.nodes) {
    if (node.op.vjp === 'stop' || !node.inputs.some((input) => active.has(input))) continue;
    for (const output of node.outputs) if (isFloat(output.dtype)) active.add(output);
  }
  return active;
}

function inputNamed(graph: Graph, name: string): Value {
  const input = graph.inputs.find((candidate) => candidate.name === name);
  const known = graph.inputs.map((candidate) => candidate.name).join(', ');
  invariant(input !== undefined, `${graph.name}: has no input '${name}'; inputs are ${known}`);
  invariant(isFloat(input.dtype), `${graph.name}: input '${name}' is ${formatType(input.type)}, not float`);
  return input;
}

function outputNamed(graph: Graph, name: string): Value {
  const output = graph.outputs.find((candidate) => candidate.name === name);
  const known = graph.outputs.map((candidate) => candidate.name).join(', ');
  invariant(output !== undefined, `${graph.name}: has no output '${name}'; outputs are ${known}`);
  return output.value;
}
