import { invariant } from '#core/contract/errors.ts';
import { evaluateDim, gradient, toFloat64, verify } from '#worker/graph/index.ts';
import type { Dialect, Graph, InputValue } from '#worker/graph/index.ts';
import { createRuntime, zeroTensor } from '#worker/runtime/index.ts';
import type { PlacedNodes, ProviderName, TensorView } from '#worker/runtime/index.ts';
import { hasAdapter } from './adapter.ts';

/**
 * Checks of graphs through ONNX Runtime itself: gradients in float64 by central differences, and what a provider computes
 * in float32 against the `reference` dialect in float64.
 */

/** What is checked, and on which values. */
export interface CheckOptions {
  /** Numbers for the symbolic sizes. */
  readonly shapes?: Readonly<Record<string, number>>;
  /** Inputs the gradient is taken in. */
  readonly wrt?: readonly string[];
  /** Outputs that get a cotangent; all float ones by default. */
  readonly outputs?: readonly string[];
  /** Given values of inputs, row-major; needed for inputs that are not float. */
  readonly values?: Readonly<Record<string, readonly number[]>>;
  /** Interval the values of an input are drawn from; [-2, 2] by default. */
  readonly ranges?: Readonly<Record<string, readonly [number, number]>>;
  readonly seed?: number;
}

/** One check: what was computed twice, both ways, and their relative difference. */
export interface Comparison {
  readonly what: string;
  readonly got: number;
  readonly expected: number;
  readonly relativeError: number;
}

type Tensors = Record<string, TensorView>;

const runtimes = {
  cpu: createRuntime({ threads: 1 }),
  webgpu: createRuntime({ provider: 'webgpu', recordPlacement: hasAdapter }),
};

/**
 * Compares the directional derivatives of each `wrt` input along three random directions, from the backward graph and
 * from five-point central differences of the forward graph, both in float64:
 * f'(0) = (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / 12h + O(h^4) (Abramowitz and Stegun 25.3.6).
 */
export async function checkGradient(graph: Graph, options: CheckOptions): Promise<readonly Comparison[]> {
  const random = uniform(options.seed ?? 1);
  const wide = toFloat64(graph);
  const outputs = options.outputs ?? floatOutputs(wide);
  const backward = gradient(wide, { outputs, wrt: options.wrt ?? [] });
  verify(wide);
  verify(backward);
  const feeds = drawFeeds(wide, options, random);
  const cotangents = drawCotangents(wide, outputs, options, random);
  const gradients = (await compiled(backward, 'reference'))({ ...feeds, ...cotangents });
  const forward = await compiled(wide, 'reference');

  const loss = (at: Tensors): number => {
    const results = forward(at);
    return outputs.reduce((sum, name) => sum + dot(cotangents[`d.${name}`], results[name]), 0);
  };
  const comparisons: Comparison[] = [];
  for (const name of options.wrt ?? []) {
    const input = feeds[name];
    invariant(input !== undefined, `no values for input '${name}'`);
    for (let trial = 0; trial < 3; trial++) {
      const direction = zeroTensor('float64', input.shape);
      for (let i = 0; i < direction.data.length; i++) direction.data[i] = random(-1, 1);
      const shifted = (step: number): number => loss({ ...feeds, [name]: shift(input, direction, step) });
      const h = 1e-4;
      const [back2, back, ahead, ahead2] = [shifted(-2 * h), shifted(-h), shifted(h), shifted(2 * h)];
      const expected = (back2 - 8 * back + 8 * ahead - ahead2) / (12 * h);
      const got = dot(gradients[`grad.${name}`], direction);
      // Derivatives that cancel to almost nothing are compared with the size of what is differentiated.
      const scale = Math.max(Math.abs(got), Math.abs(expected), 1e-4 * Math.abs(ahead), 1e-6);
      comparisons.push({
        what: `grad.${name}`,
        got,
        expected,
        relativeError: Math.abs(got - expected) / scale,
      });
    }
  }
  return comparisons;
}

/**
 * Runs the graph, and its backward graph when `wrt` is given, as float32 on `provider` and as float64 in the
 * `reference` dialect, and compares each output's largest difference with its largest element. Also checks that the
 * shapes are those type inference gave.
 */
export async function checkDialects(
  graph: Graph,
  options: CheckOptions,
  provider: ProviderName = 'cpu',
): Promise<readonly Comparison[]> {
  const random = uniform(options.seed ?? 1);
  const outputs = options.outputs ?? floatOutputs(graph);
  const wrt = options.wrt ?? [];
  const graphs = wrt.length === 0 ? [graph] : [graph, gradient(graph, { outputs, wrt })];
  const feeds = {
    ...drawFeeds(graph, options, random),
    ...(wrt.length === 0 ? {} : drawCotangents(graph, outputs, options, random)),
  };
  const comparisons: Comparison[] = [];
  for (const each of graphs) {
    verify(each);
    const results = (await compiled(each, provider))(feeds);
    const expected = (await compiled(toFloat64(each), 'reference'))(feeds);
    for (const { name, value } of each.outputs) {
      const [got, want] = [results[name], expected[name]];
      invariant(got !== undefined && want !== undefined, `output '${name}' is missing`);
      const shape = value.shape.map((dim) => evaluateDim(dim, options.shapes ?? {})).join();
      invariant(
        got.shape.join() === shape && want.shape.join() === shape,
        `'${name}' was inferred as [${shape}], is [${got.shape.join()}] in ${provider} and [${want.shape.join()}] in reference`,
      );
      invariant(got.dtype === value.dtype, `'${name}' was inferred as ${value.dtype}, is ${got.dtype}`);
      comparisons.push(largestDifference(`${each.name} ${name}`, got, want));
    }
  }
  return comparisons;
}

/** The outputs of a forward run in the `cpu` dialect, with inputs drawn as for the checks. */
export async function runOnce(
  graph: Graph,
  options: CheckOptions,
): Promise<{ readonly feeds: Tensors; readonly results: Tensors }> {
  const feeds = drawFeeds(graph, options, uniform(options.seed ?? 1));
  return { feeds, results: (await compiled(graph, 'cpu'))(feeds) };
}

/** Where the nodes of what `checkDialects` ran on `webgpu` were placed; programs compiled later are not recorded. */
export function placementOnDevice(): PlacedNodes[] {
  return runtimes.webgpu.endPlacement();
}

/** Ops of graphs that are written into files: stages on a GPU have none of them. */
const ofFiles = new Set(['nonZero', 'addRows', 'count']);

/** Whether a graph is one for a GPU: half floats are widened before they reach it. */
export function isForDevice({ inputs, nodes }: Graph): boolean {
  const values = [...inputs, ...nodes.flatMap(({ outputs }) => outputs)];
  const isWide = values.every(({ dtype }) => dtype !== 'bfloat16' && dtype !== 'float16');
  return isWide && !nodes.some(({ op }) => ofFiles.has(op.name));
}

function floatOutputs(graph: Graph): readonly string[] {
  return graph.outputs.filter(({ value }) => value.dtype.startsWith('float')).map(({ name }) => name);
}

/** Compiles a graph and gives a function that runs it on what it takes of the offered tensors. */
async function compiled(graph: Graph, dialect: Dialect): Promise<(offered: Tensors) => Tensors> {
  const program = await runtimes[dialect === 'webgpu' ? 'webgpu' : 'cpu'].compile(graph, { dialect });
  return (offered) => {
    const feeds: Tensors = {};
    for (const input of graph.inputs) feeds[input.name] = converted(input, offered[input.name]);
    return program.run(feeds);
  };
}

/** The drawn values in the type the graph takes. */
function converted(input: InputValue, view: TensorView | undefined): TensorView {
  invariant(view !== undefined, `no values for input '${input.name}'`);
  if (view.dtype === input.dtype) return view;
  const copy = zeroTensor(input.dtype, view.shape);
  for (let i = 0; i < copy.data.length; i++) copy.data[i] = view.data[i] ?? Number.NaN;
  return copy;
}

function drawFeeds(graph: Graph, options: CheckOptions, random: Random): Tensors {
  const feeds: Tensors = {};
  for (const { name, dtype, shape } of graph.inputs) {
    const view = zeroTensor(
      dtype,
      shape.map((dim) => evaluateDim(dim, options.shapes ?? {})),
    );
    const given = options.values?.[name];
    const [low, high] = options.ranges?.[name] ?? [-2, 2];
    invariant(
      given !== undefined || dtype.startsWith('float'),
      `input '${name}' is ${dtype}: give its values`,
    );
    invariant(
      given === undefined || given.length === view.data.length,
      `'${name}' needs ${view.data.length} values`,
    );
    for (let i = 0; i < view.data.length; i++) {
      const value = given?.[i] ?? Math.fround(random(low, high));
      view.data[i] = view.data instanceof BigInt64Array ? BigInt(value) : value;
    }
    feeds[name] = view;
  }
  return feeds;
}

function drawCotangents(
  graph: Graph,
  outputs: readonly string[],
  options: CheckOptions,
  random: Random,
): Tensors {
  const cotangents: Tensors = {};
  for (const { name, value } of graph.outputs) {
    if (!outputs.includes(name)) continue;
    const view = zeroTensor(
      value.dtype,
      value.shape.map((dim) => evaluateDim(dim, options.shapes ?? {})),
    );
    for (let i = 0; i < view.data.length; i++) view.data[i] = Math.fround(random(-1, 1));
    cotangents[`d.${name}`] = view;
  }
  return cotangents;
}

function shift(base: TensorView, direction: TensorView, step: number): TensorView {
  const moved = zeroTensor('float64', base.shape);
  for (let i = 0; i < moved.data.length; i++) {
    moved.data[i] = Number(base.data[i]) + step * Number(direction.data[i]);
  }
  return moved;
}

function dot(a: TensorView | undefined, b: TensorView | undefined): number {
  invariant(a !== undefined && b !== undefined && a.data.length === b.data.length, 'tensors differ in size');
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += Number(a.data[i]) * Number(b.data[i]);
  return sum;
}

function largestDifference(what: string, got: TensorView, expected: TensorView): Comparison {
  let scale = 1e-3;
  let worst = { got: 0, expected: 0, difference: 0 };
  for (let i = 0; i < expected.data.length; i++) {
    const [a, b] = [Number(got.data[i]), Number(expected.data[i])];
    scale = Math.max(scale, Math.abs(b));
    const difference = Math.abs(a - b);
    if (!(difference <= worst.difference)) worst = { got: a, expected: b, difference };
  }
  return { what, got: worst.got, expected: worst.expected, relativeError: worst.difference / scale };
}

type Random = (low: number, high: number) => number;

/** Uniform numbers from a 32-bit state passed through a multiply-xor hash, repeatable by seed. */
function uniform(seed: number): Random {
  let state = seed >>> 0;
  return (low, high) => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return low + ((high - low) * ((mixed ^ (mixed >>> 15)) >>> 0)) / 4294967296;
  };
}
