/** One graph that is put together from stages. */
import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder, inline, type DType, type Dim, type Graph, type Value } from '#worker/graph/index.ts';
import type { DecoderPlan, LayerPlan } from './decoder-plan.ts';
import type { ParameterRole } from './parameter-roles.ts';
import { parameterId } from './parameters.ts';
import type { MethodSession } from './slots.ts';
import type { StoredDtype, WeightDtypes } from './stages/weight.ts';

/** Values of an input that is no parameter. */
export interface TableValues {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** What of a session counts when its model is used. */
export type UsedSession = Pick<MethodSession, 'routing' | 'inferenceRouting' | 'buffer'>;

/** Values by the name of an input or output of a stage. */
export type Values = Readonly<Record<string, Value>>;

/** Where the parameters of a stage come from: their ids by role, and how they are stored. */
export interface StageWeights {
  readonly idOf: (role: string) => string;
  readonly dtypes: WeightDtypes;
}

/** Copies stages into one graph; what a stage reads and is not fed becomes an input, the same one for the same name. */
export class GraphAssembly {
  readonly builder: GraphBuilder;
  readonly plan: DecoderPlan;
  readonly session: UsedSession;
  /** Inputs that are no parameters and have fixed values. */
  readonly tables = new Map<string, TableValues>();
  readonly #dtypes: (id: string) => StoredDtype;
  readonly #inputs = new Map<string, Value>();

  /** @param dtypes how each parameter is stored, by id. */
  constructor(name: string, plan: DecoderPlan, session: UsedSession, dtypes: (id: string) => StoredDtype) {
    this.builder = new GraphBuilder(name);
    this.plan = plan;
    this.session = session;
    this.#dtypes = dtypes;
  }

  #input(name: string, dtype: DType, shape: readonly Dim[]): Value {
    const known = this.#inputs.get(name);
    if (known !== undefined) return known;
    const value = this.builder.input(name, dtype, shape);
    this.#inputs.set(name, value);
    return value;
  }

  /** A parameter as it is stored. */
  parameter(id: string, shape: readonly number[]): Value {
    return this.#input(id, this.#dtypes(id), shape);
  }

  /** An input with fixed values. */
  table(name: string, data: Float32Array | Int32Array, ...shape: readonly number[]): Value {
    this.tables.set(name, { shape, data });
    return this.#input(name, data instanceof Float32Array ? 'float32' : 'int32', shape);
  }

  /** The weights of a layer, or of one of its experts. Where both halves of a layer read its input, they share a norm. */
  weights({ parallel }: LayerPlan, layer: number, expert: number | null = null): StageWeights {
    return this.weightsBy((role) => {
      const own = parallel ? role.replace(/^postAttentionNorm/, 'inputNorm') : role;
      return parameterId(own as ParameterRole, layer, expert);
    });
  }

  /** The weights of a stage by their ids. */
  weightsBy(idOf: (role: string) => string): StageWeights {
    return { idOf, dtypes: (role) => this.#dtypes(idOf(role)) };
  }

  /** The outputs of a stage, of which it has each one that is asked for. */
  stage(graph: Graph, feeds: Values, { idOf }: StageWeights): (output: string) => Value {
    const outputs = inline(
      graph,
      this.builder,
      ({ name, dtype, shape }) => feeds[name] ?? this.#input(idOf(name), dtype, shape),
    );
    return (name) => {
      const value = outputs[name];
      invariant(value !== undefined, `${graph.name} has no output ${name}`);
      return value;
    };
  }
}
