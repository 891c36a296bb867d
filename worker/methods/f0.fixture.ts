/**
 * A router of three experts on two tokens, small enough to be worked out by hand: E₀(x) = x, E₁(x) = 2x,
 * E₂(x) = −x + [½, ½], and the loss Σ_t ⟨[1, ½], y_t⟩.
 */
import { GraphBuilder, gradient } from '#worker/graph/index.ts';
import {
  gateStage,
  standInStage,
  type DecoderPlan,
  type LayerUsage,
  type MethodContext,
  type MethodSession,
} from '#worker/model/index.ts';
import { familyOf } from '#worker/families/index.ts';
import { runOnce } from '#worker/testing/index.ts';

const EXPERTS = 3;
const TOKENS = 2;
/** The tokens. */
export const tokenIds_N = Int32Array.of(2, 3);
/** Router logits, `[tokens, experts]`. */
export const logits_NE = [0.9, 0.4, -0.3, 0.2, 0.7, 0.1];
/** What the experts make of the tokens, `[tokens][experts]`. */
const outputs = [
  [
    [1, 0],
    [2, 0],
    [-0.5, 0.5],
  ],
  [
    [0, 1],
    [0, 2],
    [0.5, -0.5],
  ],
] as const;
const lossDirection = [1, 0.5] as const;

/** Usage of a layer that no token went through. */
export const noUsage: LayerUsage = {
  soft_E: new Float32Array(EXPERTS),
  softAll_E: new Float32Array(EXPERTS),
  hard_E: new Uint32Array(EXPERTS),
  hardAll_E: new Uint32Array(EXPERTS),
  mass_E: new Float32Array(EXPERTS),
  choice: { chosen_NK: new Int32Array(0), k: 1, always: [], overlap: 'union' },
  ids_N: new Int32Array(0),
};

/** A method context for this router. */
export function contextOf(expertsPerToken: number, normalise = false): MethodContext {
  const plan: DecoderPlan = familyOf({ model_type: 'olmoe' }).plan({
    vocab_size: 4,
    hidden_size: 2,
    intermediate_size: 2,
    num_hidden_layers: 1,
    num_attention_heads: 1,
    num_experts: EXPERTS,
    num_experts_per_tok: expertsPerToken,
    norm_topk_prob: normalise,
  });
  return {
    plan,
    moeLayers: 1,
    seed: 0,
    gumbel: (_place, count) => new Float32Array(count),
    readBias: () => [],
    readCondensers: () => [],
    readExpertConfig: () => ({ experts: [[]], sharedExperts: false, nonExpertModules: false }),
    readAdapters: (path) => {
      throw new RangeError(`no adapters in ${path}`);
    },
    readDefaultOutputs: () => [],
    readTokenExperts: () => [],
    tokenCounts: () => new Uint32Array(4),
    submatrices: null,
    expertScores: null,
  };
}

function buffers(session: MethodSession): Record<string, number[]> {
  return Object.fromEntries(
    [
      ...session.routing.buffers.map((name) => [name, session.buffer(name, 0)] as const),
      ...(session.routing.tokenBuffers ?? []).map(
        (name) => [name, session.tokenBuffer?.(name, 0, TOKENS) ?? []] as const,
      ),
    ].map(([name, values]) => [`buffer.${name}`, [...values]]),
  );
}

/** The scores a session chooses by, `[tokens, experts]`. */
export async function scoresOf(session: MethodSession): Promise<Float32Array> {
  const builder = new GraphBuilder('scores');
  const logits = builder.input('logits', 'float32', [TOKENS, EXPERTS]);
  const declared = Object.fromEntries(
    [
      ...session.routing.buffers.map((name) => [name, [EXPERTS]] as const),
      ...(session.routing.tokenBuffers ?? []).map((name) => [name, [TOKENS, EXPERTS]] as const),
    ].map(([name, shape]) => [name, builder.input(`buffer.${name}`, 'float32', shape)]),
  );
  builder.output('scores', session.routing.scores(logits, declared));
  const { results } = await runOnce(builder.build(), { values: { ...buffers(session), logits: logits_NE } });
  return Float32Array.from(results['scores']?.data ?? [], Number);
}

/** The tokens' vectors, `[tokens][hidden]`. */
const inputs = [
  [1, 0],
  [0, 1],
] as const;

/**
 * One forward and backward pass: outputs of both tokens, the gradient of the logits, and that of each expert's slope a_e, were
 * its output a_e x + c: `Σ_t w_te ⟨g, x_t⟩`.
 */
export async function passThrough(session: MethodSession, context: MethodContext) {
  const [layer] = context.plan.layers;
  if (layer === undefined) throw new RangeError('the plan has a layer');
  const choice = session.routing.choose(await scoresOf(session), tokenIds_N, 0);
  const multiplicity = new Array<number>(TOKENS * EXPERTS).fill(0);
  for (let t = 0; t < TOKENS; t++) {
    for (const expert of choice.chosen_NK.subarray(t * choice.k, (t + 1) * choice.k))
      if (expert >= 0) multiplicity[t * EXPERTS + expert] = 1;
    for (const e of choice.always) {
      const at = t * EXPERTS + e;
      multiplicity[at] = choice.overlap === 'double' ? (multiplicity[at] ?? 0) + 1 : 1;
    }
  }
  const gate = gateStage(layer, session.routing, false);
  const values = { ...buffers(session), logits: logits_NE, multiplicity };
  const forward = await runOnce(gate, { shapes: { N: TOKENS }, values });
  const weights = Array.from(forward.results['weights']?.data ?? [], Number);
  const dense = session.routing.dense;
  const standIn = dense?.standIn.kind === 'vector' ? dense.standIn : null;
  const y = outputs.map((experts, t) =>
    [0, 1].map((h) =>
      experts.reduce((sum, out, e) => sum + (weights[t * EXPERTS + e] ?? 0) * (out[h] ?? 0), 0),
    ),
  );
  const dWeights = outputs.flatMap((experts) =>
    experts.map(([a, b]) => a * lossDirection[0] + b * lossDirection[1]),
  );
  if (standIn !== null) {
    const stage = standInStage(layer, 2);
    const offered = {
      denseWeights: Array.from(forward.results['denseWeights']?.data ?? [], Number),
      multiplicity,
      vectors: [...standIn.vectors_EH(0)],
    };
    const given = await runOnce(stage, { shapes: { N: TOKENS }, values: offered });
    const back = await runOnce(gradient(stage, { outputs: ['y'], wrt: ['denseWeights'] }), {
      shapes: { N: TOKENS },
      values: { ...offered, 'd.y': [...lossDirection, ...lossDirection] },
    });
    if (standIn.inValue)
      y.forEach((row, t) =>
        row.forEach((value, h) => {
          row[h] = value + Number(given.results['y']?.data[2 * t + h]);
        }),
      );
    multiplicity.forEach((count, at) => {
      if (count === 0) dWeights[at] = Number(back.results['grad.denseWeights']?.data[at]);
    });
  }
  const learnt = dense === undefined ? 'weights' : 'denseWeights';
  const backward = await runOnce(gradient(gate, { outputs: [learnt], wrt: ['logits'] }), {
    shapes: { N: TOKENS },
    values: { ...values, [`d.${learnt}`]: dWeights },
  });
  const dSlopes = [0, 1, 2].map((e) =>
    inputs.reduce(
      (sum, [a, b], t) =>
        sum + (weights[t * EXPERTS + e] ?? 0) * (a * lossDirection[0] + b * lossDirection[1]),
      0,
    ),
  );
  return { y, dSlopes, dLogits: Array.from(backward.results['grad.logits']?.data ?? [], Number) };
}
