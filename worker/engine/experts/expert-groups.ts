/** The experts of a layer in a few programs, where each run has a price of its own. */
import type { Mode } from '#worker/model/index.ts';
import type { Tensors } from '#worker/runtime/index.ts';
import type { Dispatch } from './dispatch.ts';
import { ExpertPairs, type BusyExpert } from './expert-pairs.ts';
import type { ExpertGradients, ExpertPrograms, ExpertTensors } from './expert-programs.ts';
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

/** Experts of a program, and their pairs; where all experts work, these lie together. */
interface Group {
  readonly members: readonly BusyExpert[];
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

  async forward(dispatch: Dispatch, tensors: ExpertTensors, out: ArenaTensor, mode: Mode): Promise<void> {
    const { workspace } = this.#parts;
    const programs = this.#parts.programs.of(mode);
    for (const group of groupsOf(dispatch, this.#grouping)) {
      const program = await programs.expertGroup(
        this.#index,
        group.members.map(({ expert }) => this.#weights.dtypes(expert)),
      );
      const pairs = new ExpertPairs(this.#parts, dispatch, group.members);
      await workspace.scratch(() => {
        const x = pairs.gathered(tensors.x);
        const y = workspace.tensor(...x.shape);
        const feeds = this.#feeds(group, dispatch, mode, tensors, (member) => ({ x: pairs.of(member, x) }));
        program.run(feeds, {
          y,
          gateProjection: tensors.gateProjection.rows(group.from, group.to),
          upProjection: tensors.upProjection.rows(group.from, group.to),
        });
        pairs.addTo(out, y);
      });
    }
  }

  async backward(
    dispatch: Dispatch,
    tensors: ExpertTensors,
    dOut: ArenaTensor,
    onward: ExpertGradients | null,
  ): Promise<void> {
    const { programs, workspace } = this.#parts;
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
      const pairs = new ExpertPairs(this.#parts, dispatch, group.members);
      await workspace.scratch(() => {
        const [x, dY] = [pairs.gathered(tensors.x), pairs.gathered(dOut)];
        const dX = onward && workspace.tensor(...x.shape);
        program.run(
          {
            ...this.#feeds(group, dispatch, 'training', tensors, (member) => ({
              x: pairs.of(member, x),
              gateProjection: tensors.gateProjection.of(member.expert),
              upProjection: tensors.upProjection.of(member.expert),
              'd.y': pairs.of(member, dY),
            })),
            ...numbered('feeds'),
          },
          {
            ...(onward &&
              dX && { 'grad.x': dX, 'grad.weight': workspace.rows(onward.weight, group.from, group.to) }),
            ...numbered('fetches'),
          },
        );
        if (onward !== null && dX !== null) pairs.addTo(onward.x, dX);
      });
    }
  }

  /**
   * What each member reads: its weights, what its adapters leave out, and its rows.
   * @param rowsOf gives these by name.
   */
  #feeds(
    { members }: Group,
    { tokens }: Dispatch,
    mode: Mode,
    { weight }: ExpertTensors,
    rowsOf: (member: BusyExpert) => Tensors,
  ): Tensors {
    const { workspace } = this.#parts;
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
            weight: workspace.rows(weight, member.from, member.to),
            ...rowsOf(member),
          },
          at,
        ),
      ),
    ) as Tensors;
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
