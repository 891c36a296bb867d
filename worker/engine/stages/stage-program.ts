/** A compiled stage, and how its weights take part in a backward pass. */
import { invariant } from '#core/contract/errors.ts';
import { accumulate, gradient, type Graph } from '#worker/graph/index.ts';
import type { WeightDtypes } from '#worker/model/index.ts';
import type { Program, Runtime, Tensors } from '#worker/runtime/index.ts';

/** A compiled stage that takes what it needs from the values offered. */
export class StageProgram {
  readonly #program: Program;

  constructor(program: Program) {
    this.#program = program;
  }

  /** Runs the stage; `offered` may hold more than it reads. Results are written into `fetches`. */
  run(offered: Tensors, fetches: Tensors): void {
    const feeds: Record<string, Tensors[string]> = {};
    for (const name of this.#program.inputs) {
      const view = offered[name];
      invariant(
        view !== undefined,
        () => `${this.#program.name}: ${name} is not among ${Object.keys(offered).join(', ')}`,
      );
      feeds[name] = view;
    }
    this.#program.run(feeds, fetches);
  }
}

/** Compiles each stage once. */
export class ProgramCache {
  readonly #runtime: Runtime;
  readonly #compiled = new Map<string, Promise<StageProgram>>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** The program called `key`; `build` makes its graph when it is first asked for. */
  program(key: string, build: () => Graph): Promise<StageProgram> {
    let program = this.#compiled.get(key);
    if (program === undefined) {
      program = this.#runtime.compile(build()).then((compiled) => new StageProgram(compiled));
      this.#compiled.set(key, program);
    }
    return program;
  }
}

/** How a stage's weights take part in a backward pass. */
export interface WeightUse {
  readonly dtypes: WeightDtypes;
  /** Roles whose gradient is wanted. */
  readonly trained: readonly string[];
  /** Their gradients already hold something that is added to. */
  readonly accumulates: boolean;
}

/** What `typesOf` gave: every run of a stage asks again. */
const knownTypes = new WeakMap<WeightDtypes, Map<readonly string[], string>>();

/** Part of a program's key: how the weights of a stage are held, and which have sub-matrices. */
export function typesOf(names: readonly string[], dtypes: WeightDtypes): string {
  const known = knownTypes.get(dtypes) ?? new Map<readonly string[], string>();
  knownTypes.set(dtypes, known);
  let types = known.get(names);
  if (types === undefined) {
    types = names
      .map((name) => `${dtypes(name)}${dtypes(`${name}.submatrices`) === null ? '' : '+'}`)
      .join(' ');
    known.set(names, types);
  }
  return types;
}

/** A number for each of `shapes`, the same for equal ones: keys are built in every run and should be short. */
export function numberEqual(shapes: readonly string[]): number[] {
  return shapes.map((shape) => shapes.indexOf(shape));
}

/** Part of a backward program's key: how the weights are held, which train, and whether gradients are added to. */
export function useKey(names: readonly string[], use: WeightUse): string {
  return `${typesOf(names, use.dtypes)} ${use.trained.join(' ')} ${use.accumulates}`;
}

/** What a stage's backward graph is given and gives. */
interface Backward {
  readonly outputs: readonly string[];
  /** Inputs the gradient flows on to. */
  readonly through: readonly string[];
  readonly saved: readonly string[];
  readonly use: WeightUse;
  readonly valueToo?: readonly string[];
}

/** The backward graph of a stage whose weights take part as `use` says. */
export function backward(graph: Graph, { outputs, through, saved, use, valueToo = [] }: Backward): Graph {
  const inputs = new Set(graph.inputs.map((input) => input.name));
  const trained = use.trained.filter((role) => inputs.has(role));
  const derived = gradient(graph, { outputs, wrt: [...through, ...trained], saved, valueToo });
  return use.accumulates
    ? accumulate(
        derived,
        trained.map((role) => `grad.${role}`),
      )
    : derived;
}
