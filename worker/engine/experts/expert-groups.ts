/** The experts of a layer in a few programs, where each run has a price of its own. */
import type { Mode } from '#worker/model/index.ts';
import type { Tensors } from '#worker/runtime/index.ts';
import type { Dispatch } from './dispatch.ts';
import type { ExpertPrograms, PairGradients, Pairs } from './expert-programs.ts';
import type { ExpertRows } from './expert-rows.ts';
import type { LayerParts } from '../layer-parts.ts';
import type { LayerWeights } from '../weights/layer-weights.ts';
import type { ArenaTensor } from '../workspace.ts';

/** How experts are put together. */
export interface Grouping {
  /** Experts of one program; each of them brings about a dozen inputs. */
  readonly size: number;
  /** Experts without tokens are there too, so that a layer always has the same programs. */
  readonly idle: boolean;
}

/** Experts of a program with their pairs; the pairs of the whole group lie together. */
interface Group {
  readonly members: readonly { readonly expert: number; readonly from: number; readonly to: number }[];
  readonly from: number;
  readonly to: number;
}

/** Groups of experts side by side. */
export class ExpertGroups implements ExpertPrograms {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #index: number;
  readonly #grouping: Grouping;

  constructor(parts: LayerParts, weights: LayerWeights, index: number, grouping: Grouping) {
    this.#parts = parts;
    this.#weights = weights;
    this.#index = index;
    this.#grouping = grouping;
  }

  async forward(dispatch: Dispatch, pairs: Pairs, y: ArenaTensor, mode: Mode): Promise<void> {
    const programs = this.#parts.programs.of(mode);
    for (const group of groupsOf(dispatch, this.#grouping)) {
      const program = await programs.expertGroup(
        this.#index,
        group.members.map(({ expert }) => this.#weights.dtypes(expert)),
      );
      const feeds = this.#feeds(group, dispatch, mode, pairs.weight, { x: pairs.x });
      const rows = (matrix: ArenaTensor) => this.#rows(matrix, group);
      program.run(feeds, {
        y: rows(y),
        gateProjection: pairs.gateProjection.rows(group.from, group.to),
        upProjection: pairs.upProjection.rows(group.from, group.to),
      });
    }
  }

  async backward(
    dispatch: Dispatch,
    pairs: Pairs,
    dY: ExpertRows,
    onward: PairGradients | null,
  ): Promise<void> {
    const { programs } = this.#parts;
    const works = (expert: number) =>
      onward !== null || this.#weights.use('expert', expert).trained.length > 0;
    for (const group of groupsOf(dispatch, this.#grouping, works)) {
      const own = group.members.map(({ expert }) => ({ expert, use: this.#weights.use('expert', expert) }));
      const accumulates = own.some(({ use }) => use.accumulates);
      const alike = own.map(({ expert, use }) => ({ expert, use: { ...use, accumulates } }));
      const program = await programs.expertGroupBackward(
        this.#index,
        alike.map(({ use }) => use),
        onward !== null,
      );
      const gradients = alike.map(({ expert, use }) => this.#weights.gradients(use, expert));
      const numbered = (part: 'feeds' | 'fetches'): Tensors =>
        Object.assign({}, ...gradients.map((each, at) => suffixed(each[part], at))) as Tensors;
      program.run(
        {
          ...this.#feeds(group, dispatch, 'training', pairs.weight, {
            x: pairs.x,
            gateProjection: pairs.gateProjection,
            upProjection: pairs.upProjection,
            'd.y': dY,
          }),
          ...numbered('feeds'),
        },
        {
          ...(onward && {
            'grad.x': this.#rows(onward.x, group),
            'grad.weight': this.#rows(onward.weight, group),
          }),
          ...numbered('fetches'),
        },
      );
    }
  }

  /** The rows of each member, its weights, and what its adapters leave out. */
  #feeds(
    { members }: Group,
    { tokens }: Dispatch,
    mode: Mode,
    weight: ArenaTensor,
    matrices: Readonly<Record<string, ExpertRows>>,
  ): Tensors {
    return Object.assign(
      {},
      ...members.map((member, at) =>
        suffixed(
          {
            ...this.#weights.views('expert', member.expert),
            ...this.#weights.masks(
              'expert',
              mode,
              tokens.subarray(member.from, member.to),
              member.expert,
              at,
            ),
            weight: this.#rows(weight, member),
            ...Object.fromEntries(
              Object.entries(matrices).map(([name, matrix]) => [name, matrix.of(member.expert)]),
            ),
          },
          at,
        ),
      ),
    ) as Tensors;
  }

  #rows(matrix: ArenaTensor, { from, to }: { readonly from: number; readonly to: number }): ArenaTensor {
    return this.#parts.workspace.rows(matrix, from, to);
  }
}

/** @param works whether an expert takes part. */
function groupsOf(
  { experts, offsets }: Dispatch,
  { size, idle }: Grouping,
  works: (expert: number) => boolean = () => true,
): Group[] {
  const members = Array.from({ length: experts }, (_, expert) => ({
    expert,
    from: offsets[expert] ?? 0,
    to: offsets[expert + 1] ?? 0,
  })).filter(({ expert, from, to }) => (idle || to > from) && works(expert));
  return Array.from({ length: Math.ceil(members.length / size) }, (_, at) => {
    const own = members.slice(at * size, (at + 1) * size);
    return { members: own, from: own[0]?.from ?? 0, to: own.at(-1)?.to ?? 0 };
  });
}

function suffixed(tensors: Tensors, at: number): Tensors {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [`${name}.${at}`, tensor]));
}
