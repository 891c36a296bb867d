import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder } from '#worker/graph/index.ts';
import type { DType, Dim, Graph, Value } from '#worker/graph/index.ts';
import type { CheckOptions } from './gradcheck.ts';

/** One graph built around an op. */
export interface OpCase extends CheckOptions {
  /** Name in the op table. */
  readonly op: string;
  readonly title: string;
  readonly build: () => Graph;
  /** Output `y` computed by hand from the input arrays. */
  readonly expected?: (inputs: Readonly<Record<string, readonly number[]>>) => readonly number[];
}

/** Name, shape and element type (float32 unless given) of an input. */
export type InputSpec = readonly [name: string, shape: readonly Dim[], dtype?: DType];

/** What a case computes from its inputs, of which it names as many as there are. */
export type Body = (a: Value, b: Value, c: Value, d: Value) => Value;

/** A graph `y = body(inputs)`. */
export function graphOf(inputs: readonly InputSpec[], body: Body): Graph {
  const builder = new GraphBuilder('case');
  const values = inputs.map(([name, shape, dtype = 'float32']) => builder.input(name, dtype, shape));
  const [a, b = a, c = a, d = a] = values;
  invariant(a !== undefined && b !== undefined && c !== undefined && d !== undefined, 'a case has an input');
  builder.output('y', body(a, b, c, d));
  return builder.build();
}

/** Numbers for the symbolic sizes of the cases. */
export const shapes = { N: 3, M: 2, B: 2, S: 3 };

/** A case whose gradient is taken in every float32 input, unless `more` says otherwise. */
export function oneCase(
  name: string,
  title: string,
  inputs: readonly InputSpec[],
  body: Body,
  more: Partial<OpCase> = {},
): OpCase {
  const wrt = inputs.filter(([, , dtype = 'float32']) => dtype === 'float32').map(([input]) => input);
  return {
    op: name,
    title: `${name} ${title}`,
    build: () => graphOf(inputs, body),
    shapes,
    wrt,
    ...more,
  };
}
