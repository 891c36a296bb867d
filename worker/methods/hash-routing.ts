/**
 * Hash layers (Roller et al. 2021, arXiv 2106.04426): which experts a token goes to depends on its id alone, by a table that
 * is made before training and stays. There is nothing to learn in routing.
 */
import { z } from 'zod';
import { op } from '#worker/graph/index.ts';
import {
  chooseBy,
  plainRouting,
  routerShapes,
  shapeOf,
  type Method,
  type MethodContext,
  type MethodSession,
  type Parameter,
  type RouterShape,
  type RouterState,
  type Routing,
} from '#worker/model/index.ts';
import { balancedTable, randomTable } from './token-table.ts';
import { statelessSession } from './stateless-session.ts';

const Options = z.strictObject({
  table: z.enum(['balanced', 'random']).default('balanced').meta({
    title: 'Table',
    description:
      'balanced: frequent tokens of the training data are spread so that experts see about as many tokens; random: drawn for each token.',
  }),
  layers: z.enum(['own', 'same']).default('own').meta({
    title: 'Tables of layers',
    description:
      'own: each layer has its own, so that tokens which share experts in one layer do not in the next; same: one for all.',
  }),
  weights: z.enum(['even', 'published']).default('even').meta({
    title: 'Gate weights',
    description:
      'even: the experts of a token count alike, as in the paper (which has one); routers are not used and do not train. published: those the checkpoint’s router gives them.',
  }),
  tableFile: z.string().nullable().default(null).meta({
    title: 'Start from table',
    description:
      'The token_experts.safetensors of an earlier run, or the folder that holds it, in place of a new table. Tokens without experts there go where the router sends them.',
    advanced: true,
  }),
});
type Options = z.output<typeof Options>;

const State = z
  .object({
    seed: z.int(),
    /** Little-endian uint32 [vocabulary] in base64: how often each token occurred in the training data. */
    counts: z.base64(),
  })
  /** The table is that of a file. */
  .nullable();

/** The experts of a token count alike, and add up to what the router scales by. */
function evenWeights(shapes: readonly RouterShape[]): Pick<Routing, 'weights'> {
  const { router, expertsPerToken } = shapeOf(shapes, 0);
  return {
    weights: (_logits_NE, multiplicity_NE) => op.mul(multiplicity_NE, (router.scale ?? 1) / expertsPerToken),
  };
}

/** What a table follows from: kept in place of the tables, which are many times as large. */
interface Source {
  readonly seed: number;
  readonly counts_V: Uint32Array;
}

class HashTables {
  readonly #options: Options;
  readonly #vocabulary: number;
  readonly #shapes: readonly RouterShape[];
  readonly #given: readonly Int32Array[] | null;
  readonly #made = new Map<string, Int32Array>();
  #source: Source;

  constructor(options: Options, context: MethodContext) {
    this.#options = options;
    this.#vocabulary = context.plan.vocabularySize;
    this.#shapes = routerShapes(context.plan);
    this.#given = options.tableFile === null ? null : context.readTokenExperts(options.tableFile);
    const counts_V =
      this.#given === null && options.table === 'balanced'
        ? context.tokenCounts()
        : new Uint32Array(this.#vocabulary);
    this.#source = { seed: context.seed, counts_V };
  }

  /** The table of a MoE layer, made at the first look. */
  of(layer: number): Int32Array {
    const given = this.#given?.[layer];
    if (given !== undefined) return given;
    const { experts, expertsPerToken: k } = shapeOf(this.#shapes, layer);
    const shape = { vocabulary: this.#vocabulary, experts, k };
    const name = this.#options.layers === 'own' ? `hash ${layer}` : `hash ${experts} ${k}`;
    const { seed, counts_V } = this.#source;
    const table_VK =
      this.#made.get(name) ??
      (this.#options.table === 'balanced'
        ? balancedTable(shape, counts_V, seed, name)
        : randomTable(shape, seed, name));
    this.#made.set(name, table_VK);
    return table_VK;
  }

  state(): RouterState {
    return { tokenExperts: this.#shapes.map((_, layer) => this.of(layer)) };
  }

  save(): z.input<typeof State> {
    if (this.#given !== null) return null;
    const { seed, counts_V } = this.#source;
    const { buffer, byteOffset, byteLength } = counts_V;
    return { seed, counts: Buffer.from(buffer, byteOffset, byteLength).toString('base64') };
  }

  restore(saved: unknown): void {
    const state = State.parse(saved);
    if (state === null) return;
    const counts_V = new Uint32Array(Uint8Array.from(Buffer.from(state.counts, 'base64')).buffer);
    this.#source = { seed: state.seed, counts_V };
    this.#made.clear();
  }
}

function startHash(options: Options, context: MethodContext): MethodSession {
  const shapes = routerShapes(context.plan);
  const plain = plainRouting(shapes);
  const tables = new HashTables(options, context);
  const trainsRouter = options.weights === 'published';
  const isRouter = ({ role }: Parameter) => role === 'router' || role === 'routerBias';
  return {
    ...statelessSession({
      trainable: (parameter) => trainsRouter || !isRouter(parameter),
      routing: {
        ...plain,
        ...(options.weights === 'even' && evenWeights(shapes)),
        choose: chooseBy(shapes, (layer) => ({
          k: shapeOf(shapes, layer).expertsPerToken,
          always: [],
          overlap: 'union',
          tokenExperts_VK: tables.of(layer),
        })),
      },
      losses: [],
    }),
    routerState: () => tables.state(),
    save: () => tables.save(),
    restore: (saved) => tables.restore(saved),
  };
}

/** Routing by token id. */
export const hashRouting: Method<typeof Options> = {
  name: 'hash-routing',
  title: 'Hash routing',
  trains: 'Every weight but the routers, with each token sent to experts that its id decides.',
  cost: '1 ×.',
  source: 'Hash layers, Roller et al. 2021 (arXiv 2106.04426), with the number of experts of the checkpoint.',
  options: Options,
  needs: 'scores',
  start: startHash,
};
