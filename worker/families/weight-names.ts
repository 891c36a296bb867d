/** Where parameters lie in a checkpoint, as tables of names. */
import type { Family, ParameterRole, StoredTensor } from '#worker/model/index.ts';

/**
 * A place: the name of a whole tensor, or a part of one that holds several parameters. `{L}` stands for the layer, `{E}` for
 * the expert.
 */
type Place = string | PartOfTensor;

interface PartOfTensor {
  readonly name: string;
  /** Experts (or a single row) along the first axis. */
  readonly stack: boolean;
  /** Which of equal ranges of rows, one behind the other. */
  readonly part?: 0 | 1 | 2;
  /** Every second row, from the first or the second. */
  readonly alternate?: 0 | 1;
  /** Rows and columns are exchanged. */
  readonly transposed?: true;
}

/** Places of each role, the published layout first. */
export type WeightNames = Readonly<Partial<Record<ParameterRole, readonly Place[]>>>;

/** The place of `name`, and the places of all experts fused as newer libraries hold them. */
const expert = (name: string, fused: PartOfTensor): readonly Place[] => [name, fused];

/** Names of the experts below module `mlp` of a layer: one tensor each, or all in one. */
export function expertNames(
  mlp: string,
  [gate, up, down]: readonly [string, string, string] = ['gate_proj', 'up_proj', 'down_proj'],
): WeightNames {
  const experts = `model.layers.{L}.${mlp}.experts`;
  const one = (projection: string) => `${experts}.{E}.${projection}.weight`;
  const fused = `${experts}.gate_up_proj`;
  return {
    expertGate: expert(one(gate), { name: fused, stack: true, part: 0 }),
    expertUp: expert(one(up), { name: fused, stack: true, part: 1 }),
    expertDown: expert(one(down), { name: `${experts}.down_proj`, stack: true }),
  };
}

/** Names of a shared expert in module `module` of a layer. */
export function sharedNames(module: string): WeightNames {
  return {
    sharedGate: [`model.layers.{L}.${module}.gate_proj.weight`],
    sharedUp: [`model.layers.{L}.${module}.up_proj.weight`],
    sharedDown: [`model.layers.{L}.${module}.down_proj.weight`],
  };
}

/** Names that most families share. */
export const commonNames: WeightNames = {
  embedding: ['model.embed_tokens.weight'],
  finalNorm: ['model.norm.weight'],
  head: ['lm_head.weight'],
  inputNorm: ['model.layers.{L}.input_layernorm.weight'],
  postAttentionNorm: ['model.layers.{L}.post_attention_layernorm.weight'],
  query: ['model.layers.{L}.self_attn.q_proj.weight'],
  key: ['model.layers.{L}.self_attn.k_proj.weight'],
  value: ['model.layers.{L}.self_attn.v_proj.weight'],
  output: ['model.layers.{L}.self_attn.o_proj.weight'],
  queryBias: ['model.layers.{L}.self_attn.q_proj.bias'],
  keyBias: ['model.layers.{L}.self_attn.k_proj.bias'],
  valueBias: ['model.layers.{L}.self_attn.v_proj.bias'],
  outputBias: ['model.layers.{L}.self_attn.o_proj.bias'],
  queryNorm: ['model.layers.{L}.self_attn.q_norm.weight'],
  keyNorm: ['model.layers.{L}.self_attn.k_norm.weight'],
  router: ['model.layers.{L}.mlp.gate.weight'],
  ...expertNames('mlp'),
  denseGate: ['model.layers.{L}.mlp.gate_proj.weight'],
  denseUp: ['model.layers.{L}.mlp.up_proj.weight'],
  denseDown: ['model.layers.{L}.mlp.down_proj.weight'],
  denseGateBias: ['model.layers.{L}.mlp.gate_proj.bias'],
  denseUpBias: ['model.layers.{L}.mlp.up_proj.bias'],
  denseDownBias: ['model.layers.{L}.mlp.down_proj.bias'],
};

/** The weight-name map of a family, from its table. A role without a name is a parameter the family never has. */
export function storedBy(names: WeightNames): Family['stored'] {
  return ({ role, layer, expert: index, shape }) =>
    (names[role] ?? []).map((place): StoredTensor => {
      const template = typeof place === 'string' ? place : place.name;
      const name = template.replace('{L}', String(layer)).replace('{E}', String(index));
      if (typeof place === 'string') return { name };
      const { stack, part = 0, alternate, transposed } = place;
      return {
        name,
        block: {
          index: stack ? (index ?? 0) : null,
          fromRow: alternate ?? part * (shape[0] ?? 0),
          ...(alternate !== undefined && { step: 2 }),
          ...(transposed && { transposed }),
        },
      };
    });
}
