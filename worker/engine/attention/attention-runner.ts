/** The attention half of a layer, forward and backward. */
import {
  attentionSaved,
  headWidths,
  headsSaved,
  type AttentionPlan,
  type Mode,
} from '#worker/model/index.ts';
import { invariant } from '#core/contract/errors.ts';
import type { TensorView, Tensors } from '#worker/runtime/index.ts';
import type { AttentionMask, QueryBlock } from './attention-mask.ts';
import type { LayerParts } from '../layer-parts.ts';
import type { LayerWeights } from '../weights/layer-weights.ts';
import type { ArenaTensor } from '../workspace.ts';

/** Rows longer than this go through attention in blocks of at most so many queries. */
export const QUERY_BLOCK = 256;

/** What attention reads beside the hidden state. */
export interface AttentionInputs {
  readonly rows: number;
  /** Tokens of a row. */
  readonly length: number;
  readonly mask: AttentionMask;
  /** The mask of short rows as a tensor [rows, 1, length, length]. */
  readonly whole: TensorView | null;
  /** `positions`, and `cos` and `sin` where positions enter. */
  readonly tables: Tensors;
}

/** What attention keeps for its backward pass. */
export interface AttentionTrace {
  readonly h: ArenaTensor;
  readonly saved: Tensors;
  /** What was mixed from the values of long rows; null: the rows are short. */
  readonly mixed: ArenaTensor | null;
  readonly out: ArenaTensor;
}

interface HeadTensors {
  readonly queryHeads: ArenaTensor;
  readonly keyHeads: ArenaTensor;
  readonly valueHeads: ArenaTensor;
}

/** Runs the attention of decoder layer `index`. */
export class AttentionRunner {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #index: number;
  readonly #plan: AttentionPlan;

  constructor(parts: LayerParts, weights: LayerWeights, index: number) {
    this.#parts = parts;
    this.#weights = weights;
    this.#index = index;
    const layer = parts.plan.layers[index];
    invariant(layer !== undefined, `layer ${index} of ${parts.plan.layers.length}`);
    this.#plan = layer.attention;
  }

  /** Hidden state `h` [N, hidden] through the attention. */
  async forward(h: ArenaTensor, inputs: AttentionInputs, mode: Mode): Promise<AttentionTrace> {
    if (inputs.whole === null) return this.#forwardInBlocks(h, inputs, mode);
    const { workspace } = this.#parts;
    const programs = this.#parts.programs.of(mode);
    const saved = this.#tensors(attentionSaved(this.#plan), h);
    const out = workspace.tensor(...h.shape);
    const program = await programs.attention.whole(this.#index, this.#weights.dtypes());
    const weights = this.#read('attention', mode, h);
    const feeds = { ...inputs.tables, mask: inputs.whole, h, ...weights };
    program.run(feeds, { ...saved, out });
    return { h, saved, mixed: null, out };
  }

  /** The weights of a stage, and what its adapters leave out of the tokens `h`. */
  #read(stage: 'attention' | 'heads' | 'attentionOutput', mode: Mode, h: ArenaTensor): Tensors {
    return { ...this.#weights.views(stage), ...this.#weights.masks(stage, mode, h.shape[0] ?? 0) };
  }

  async #forwardInBlocks(h: ArenaTensor, inputs: AttentionInputs, mode: Mode): Promise<AttentionTrace> {
    const { workspace } = this.#parts;
    const programs = this.#parts.programs.of(mode);
    const dtypes = this.#weights.dtypes();
    const saved = this.#tensors(headsSaved(this.#plan), h);
    const mixed = workspace.tensor(h.shape[0] ?? 0, headWidths(this.#plan).mixed);
    const out = workspace.tensor(...h.shape);
    await workspace.scratch(async () => {
      const heads = this.#headTensors(h);
      const program = await programs.attention.heads(this.#index, dtypes);
      program.run({ ...inputs.tables, h, ...this.#read('heads', mode, h) }, { ...saved, ...heads });
      const mix = await programs.attention.mix(this.#index, dtypes);
      await this.#eachBlock(inputs, heads, (block, feeds) => {
        mix.run(feeds, { mixed: this.#queries(mixed, block, inputs) });
      });
      const output = await programs.attention.output(this.#index, dtypes);
      output.run({ h, mixed, ...saved, ...this.#read('attentionOutput', mode, h) }, { out });
    });
    return { h, saved, mixed, out };
  }

  /** From the gradient of the output, `dOut`, to that of the input, `dIn`. */
  async backward(
    trace: AttentionTrace,
    inputs: AttentionInputs,
    dOut: ArenaTensor,
    dIn: ArenaTensor,
  ): Promise<void> {
    const { h, saved, mixed } = trace;
    if (mixed !== null) return this.#backwardInBlocks(h, saved, mixed, inputs, dOut, dIn);
    invariant(inputs.whole !== null, 'short rows have a mask as a whole');
    const use = this.#weights.use('attention');
    const program = await this.#parts.programs.attention.wholeBackward(this.#index, use);
    const gradients = this.#weights.gradients(use);
    program.run(
      {
        ...inputs.tables,
        mask: inputs.whole,
        h,
        ...saved,
        ...this.#read('attention', 'training', h),
        'd.out': dOut,
        ...gradients.feeds,
      },
      { 'grad.h': dIn, ...gradients.fetches },
    );
  }

  async #backwardInBlocks(
    h: ArenaTensor,
    saved: Tensors,
    mixed: ArenaTensor,
    inputs: AttentionInputs,
    dOut: ArenaTensor,
    dIn: ArenaTensor,
  ): Promise<void> {
    const { workspace } = this.#parts;
    await workspace.scratch(async () => {
      const dMixed = workspace.tensor(...mixed.shape);
      const dGate = this.#dGate(saved);
      await this.#outputBackward(
        h,
        { h, mixed, ...saved, 'd.out': dOut },
        { 'grad.mixed': dMixed, ...dGate.grad },
      );
      const dHeads = this.#headTensors(h);
      await workspace.scratch(() => this.#mixBackward(h, saved, inputs, dMixed, dHeads));
      const use = this.#weights.use('heads');
      const program = await this.#parts.programs.attention.headsBackward(this.#index, use);
      const gradients = this.#weights.gradients(use);
      program.run(
        {
          ...inputs.tables,
          h,
          ...saved,
          ...this.#read('heads', 'training', h),
          'd.queryHeads': dHeads.queryHeads,
          'd.keyHeads': dHeads.keyHeads,
          'd.valueHeads': dHeads.valueHeads,
          ...dGate.d,
          'acc.grad.h': dOut,
          ...gradients.feeds,
        },
        { 'grad.h': dIn, ...gradients.fetches },
      );
    });
  }

  /** Room for the gradient of what gates the context, as an output of one stage and an input of the next. */
  #dGate(saved: Tensors): { readonly grad: Tensors; readonly d: Tensors } {
    const { gateProjection } = saved;
    if (gateProjection === undefined) return { grad: {}, d: {} };
    const tensor = this.#parts.workspace.tensor(...gateProjection.shape);
    return { grad: { 'grad.gateProjection': tensor }, d: { 'd.gateProjection': tensor } };
  }

  async #outputBackward(h: ArenaTensor, feeds: Tensors, fetches: Tensors): Promise<void> {
    const use = this.#weights.use('attentionOutput');
    const program = await this.#parts.programs.attention.outputBackward(this.#index, use);
    const gradients = this.#weights.gradients(use);
    program.run(
      { ...feeds, ...this.#read('attentionOutput', 'training', h), ...gradients.feeds },
      { ...fetches, ...gradients.fetches },
    );
  }

  /** Fills the gradients of the heads from that of what was mixed, block by block. */
  async #mixBackward(
    h: ArenaTensor,
    saved: Tensors,
    inputs: AttentionInputs,
    dMixed: ArenaTensor,
    dHeads: HeadTensors,
  ): Promise<void> {
    const { programs } = this.#parts;
    const heads = this.#headTensors(h);
    const again = await programs.attention.headsAgain(this.#index, this.#weights.dtypes());
    again.run({ ...inputs.tables, h, ...saved, ...this.#read('heads', 'training', h) }, { ...heads });
    dHeads.keyHeads.data.fill(0);
    dHeads.valueHeads.data.fill(0);
    await this.#eachBlock(inputs, heads, async (block, feeds) => {
      const use = this.#weights.use('mix');
      const program = await programs.attention.mixBackward(this.#index, use);
      const gradients = this.#weights.gradients(use);
      const dKeys = this.#keys(dHeads.keyHeads, block, inputs);
      const dValues = this.#keys(dHeads.valueHeads, block, inputs);
      program.run(
        {
          ...feeds,
          'd.mixed': this.#queries(dMixed, block, inputs),
          'acc.grad.keyHeads': dKeys,
          'acc.grad.valueHeads': dValues,
          ...gradients.feeds,
        },
        {
          'grad.queryHeads': this.#queries(dHeads.queryHeads, block, inputs),
          'grad.keyHeads': dKeys,
          'grad.valueHeads': dValues,
          ...gradients.fetches,
        },
      );
    });
  }

  /** Calls `work` for each block of queries with what mixing reads; what it allocates is taken back after each. */
  async #eachBlock(
    inputs: AttentionInputs,
    heads: HeadTensors,
    work: (block: QueryBlock, feeds: Tensors) => Promise<void> | void,
  ): Promise<void> {
    const { workspace } = this.#parts;
    for (let row = 0; row < inputs.rows; row++) {
      for (const block of inputs.mask.blocks(row, QUERY_BLOCK)) {
        await workspace.scratch(async () => {
          const mask = workspace.tensor(1, 1, block.to - block.from, block.to - block.firstKey);
          inputs.mask.write(block, mask.data);
          await work(block, {
            queryHeads: this.#queries(heads.queryHeads, block, inputs),
            keyHeads: this.#keys(heads.keyHeads, block, inputs),
            valueHeads: this.#keys(heads.valueHeads, block, inputs),
            mask,
            ...this.#weights.views('mix'),
          });
        });
      }
    }
  }

  #queries(matrix: ArenaTensor, { row, from, to }: QueryBlock, { length }: AttentionInputs): ArenaTensor {
    return this.#parts.workspace.rows(matrix, row * length + from, row * length + to);
  }

  #keys(matrix: ArenaTensor, { row, firstKey, to }: QueryBlock, { length }: AttentionInputs): ArenaTensor {
    return this.#parts.workspace.rows(matrix, row * length + firstKey, row * length + to);
  }

  #headTensors(h: ArenaTensor): HeadTensors {
    const { queryHeads, keyHeads, valueHeads } = headWidths(this.#plan);
    const tensor = (width: number) => this.#parts.workspace.tensor(h.shape[0] ?? 0, width);
    return {
      queryHeads: tensor(queryHeads),
      keyHeads: tensor(keyHeads),
      valueHeads: tensor(valueHeads),
    };
  }

  #tensors(widths: Readonly<Record<string, number>>, h: ArenaTensor): Tensors {
    return Object.fromEntries(
      Object.entries(widths).map(([name, width]) => [
        name,
        this.#parts.workspace.tensor(h.shape[0] ?? 0, width),
      ]),
    );
  }
}
