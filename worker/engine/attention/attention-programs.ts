/** The programs of the attention half of a layer. */
import { invariant } from '#core/contract/errors.ts';
import { accumulate, resume } from '#worker/graph/index.ts';
import {
  attentionOutputStage,
  attentionSaved,
  attentionStage,
  headsSaved,
  headsStage,
  mixStage,
  stepStage,
  type AdapterPlan,
  type DecoderPlan,
  type LayerPlan,
  type WeightDtypes,
} from '#worker/model/index.ts';
import {
  backward,
  numberEqual,
  typesOf,
  useKey,
  type ProgramCache,
  type StageProgram,
  type WeightUse,
} from '../stages/stage-program.ts';
import { stageRoles } from '../stages/stage-roles.ts';

const HEADS = ['queryHeads', 'keyHeads', 'valueHeads'];

/** Attention as one program for short rows, and as heads, mixing and output for long ones. */
export class AttentionPrograms {
  readonly #cache: ProgramCache;
  readonly #plan: DecoderPlan;
  readonly #adapters: AdapterPlan | null;
  /** Equal where the attention of layers depends on the same. */
  readonly #shapes: readonly number[];

  constructor(cache: ProgramCache, plan: DecoderPlan, adapters: AdapterPlan | null) {
    this.#cache = cache;
    this.#plan = plan;
    this.#adapters = adapters;
    this.#shapes = numberEqual(
      plan.layers.map(({ attention, inputNorm, attentionOutputNorm, residualScale }) =>
        JSON.stringify([attention, inputNorm, attentionOutputNorm, residualScale]),
      ),
    );
  }

  #layer(index: number): LayerPlan {
    const layer = this.#plan.layers[index];
    invariant(layer !== undefined, `layer ${index} of ${this.#plan.layers.length}`);
    return layer;
  }

  /** Layers with equal attention share programs. */
  #key(stage: string, index: number, weights: string): string {
    return `${stage} ${this.#shapes[index]} ${weights}`;
  }

  whole(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    const key = this.#key('attention', index, typesOf(stageRoles.attention, dtypes));
    return this.#cache.program(key, () =>
      attentionStage(this.#layer(index), this.#plan.hiddenSize, dtypes, this.#adapters),
    );
  }

  wholeBackward(index: number, use: WeightUse): Promise<StageProgram> {
    const layer = this.#layer(index);
    const key = this.#key("attention'", index, useKey(stageRoles.attention, use));
    return this.#cache.program(key, () =>
      backward(attentionStage(layer, this.#plan.hiddenSize, use.dtypes, this.#adapters), {
        outputs: ['out'],
        through: ['h'],
        saved: Object.keys(attentionSaved(layer.attention)),
        use,
      }),
    );
  }

  heads(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    const key = this.#key('heads', index, typesOf(stageRoles.heads, dtypes));
    return this.#cache.program(key, () =>
      headsStage(this.#layer(index), this.#plan.hiddenSize, dtypes, this.#adapters),
    );
  }

  /** The heads alone, without what a backward pass would read. */
  headsOnly(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    const layer = this.#layer(index);
    const key = this.#key('heads only', index, typesOf(stageRoles.heads, dtypes));
    return this.#cache.program(key, () =>
      resume(headsStage(layer, this.#plan.hiddenSize, dtypes, this.#adapters), {
        saved: [],
        outputs: [...HEADS, ...gateOf(layer)],
      }),
    );
  }

  /** The same heads from what was saved, without its products. */
  headsAgain(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    const layer = this.#layer(index);
    const key = this.#key('heads again', index, typesOf(stageRoles.heads, dtypes));
    return this.#cache.program(key, () =>
      resume(headsStage(layer, this.#plan.hiddenSize, dtypes, this.#adapters), {
        saved: Object.keys(headsSaved(layer.attention)),
        outputs: HEADS,
      }),
    );
  }

  /** Adds the gradient of `h` to what its accumulator holds. */
  headsBackward(index: number, use: WeightUse): Promise<StageProgram> {
    const layer = this.#layer(index);
    const key = this.#key("heads'", index, useKey(stageRoles.heads, use));
    return this.#cache.program(key, () => {
      const derived = backward(headsStage(layer, this.#plan.hiddenSize, use.dtypes, this.#adapters), {
        outputs: [...HEADS, ...gateOf(layer)],
        through: ['h'],
        saved: Object.keys(headsSaved(layer.attention)),
        use,
      });
      return accumulate(derived, ['grad.h']);
    });
  }

  mix(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    const key = this.#key('mix', index, typesOf(stageRoles.mix, dtypes));
    return this.#cache.program(key, () => mixStage(this.#layer(index), this.#plan.hiddenSize, dtypes));
  }

  /** Adds the gradients of keys and values to what their accumulators hold. */
  mixBackward(index: number, use: WeightUse): Promise<StageProgram> {
    const key = this.#key("mix'", index, useKey(stageRoles.mix, use));
    return this.#cache.program(key, () => {
      const derived = backward(mixStage(this.#layer(index), this.#plan.hiddenSize, use.dtypes), {
        outputs: ['mixed'],
        through: HEADS,
        saved: [],
        use,
      });
      return accumulate(derived, ['grad.keyHeads', 'grad.valueHeads']);
    });
  }

  /** Mixing and output for one new token of each row. */
  step(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#cache.program(this.#key('step', index, typesOf(stageRoles.attention, dtypes)), () =>
      stepStage(this.#layer(index), this.#plan.hiddenSize, dtypes, this.#adapters),
    );
  }

  output(index: number, dtypes: WeightDtypes): Promise<StageProgram> {
    const key = this.#key('attention output', index, typesOf(stageRoles.attentionOutput, dtypes));
    return this.#cache.program(key, () =>
      attentionOutputStage(this.#layer(index), this.#plan.hiddenSize, dtypes, this.#adapters),
    );
  }

  outputBackward(index: number, use: WeightUse): Promise<StageProgram> {
    const layer = this.#layer(index);
    const key = this.#key("attention output'", index, useKey(stageRoles.attentionOutput, use));
    return this.#cache.program(key, () =>
      backward(attentionOutputStage(layer, this.#plan.hiddenSize, use.dtypes, this.#adapters), {
        outputs: ['out'],
        through: ['mixed', ...gateOf(layer)],
        saved: [],
        use,
      }),
    );
  }
}

/** The saved value that gates the context, where there is one: it is made with the heads and read with the output. */
function gateOf({ attention }: LayerPlan): readonly string[] {
  return Object.keys(headsSaved(attention)).filter((name) => name === 'gateProjection');
}
