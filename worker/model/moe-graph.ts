/** The feed-forward half of a layer of experts inside the graph of a whole decoder. */
import { UserError, invariant } from '#core/contract/errors.ts';
import { op, type Value } from '#worker/graph/index.ts';
import type { LayerPlan, MoePlan } from './decoder-plan.ts';
import type { GraphAssembly, Values } from './graph-assembly.ts';
import { shapeOf } from './routing.ts';
import { routerShapes, routingOf, type Mode } from './slots.ts';
import { choiceStage } from './stages/choice.ts';
import { outputNormStage, sharedStage } from './stages/dense.ts';
import { expertStage } from './stages/expert.ts';
import { localExpertStage } from './stages/local-expert.ts';
import { gateStage, routerStage } from './stages/router.ts';
import { standInStage } from './stages/stand-in.ts';

/** What a layer of experts reads. */
export interface MoeInputs {
  readonly h: Value;
  /** What the experts are added to. */
  readonly base: Value;
  /** `ids` of the tokens and their `visits`: see `choiceStage`. */
  readonly tokens: Values;
}

/** What a graph is for. */
export type GraphMode = Exclude<Mode, 'training'>;

/** One layer of experts: what the engine's `MoeRunner` does forward. */
export class MoeGraph {
  readonly #assembly: GraphAssembly;
  readonly #layer: LayerPlan;
  readonly #moe: MoePlan;
  readonly #index: number;
  readonly #moeIndex: number;
  readonly #mode: GraphMode;

  /** @param index of the layer in the decoder; `moeIndex` among those of experts. */
  constructor(assembly: GraphAssembly, layer: LayerPlan, index: number, moeIndex: number, mode: GraphMode) {
    invariant(layer.feedForward.kind === 'moe', `layer ${index} has experts`);
    this.#assembly = assembly;
    this.#layer = layer;
    this.#moe = layer.feedForward;
    this.#index = index;
    this.#moeIndex = moeIndex;
    this.#mode = mode;
  }

  /** The layer's output [N, hidden]. @throws UserError `export/onnx-unsupported`. */
  build({ h, base, tokens }: MoeInputs): Value {
    const [layer, moe, assembly] = [this.#layer, this.#moe, this.#assembly];
    const { hiddenSize } = assembly.plan;
    const weights = assembly.weights(layer, this.#index);
    const routing = routingOf(assembly.session, this.#mode);
    const { logits, x, multiplicity, buffers } = this.#route(h, tokens);
    const gate = assembly.stage(
      gateStage(layer, routing, false),
      { logits, multiplicity, ...buffers },
      weights,
    );

    const hasNorm = layer.feedForwardOutputNorm !== undefined;
    let sum = hasNorm ? op.expand(assembly.builder.constant(0), [...h.shape]) : base;
    if (moe.shared !== undefined) {
      const stage = sharedStage(layer, hiddenSize, weights.dtypes);
      sum = assembly.stage(stage, { h: sum, x }, weights)('out');
    }
    sum = this.#chosen(x, multiplicity, gate('weights'), sum);
    const standIn = routing.dense?.standIn;
    if (standIn?.kind === 'vector' && standIn.inValue) {
      const vectors_EH = standIn.vectors_EH(this.#moeIndex);
      const vectors = assembly.table(weights.idOf('vectors'), vectors_EH, moe.experts, hiddenSize);
      const feeds = { denseWeights: gate('denseWeights'), multiplicity, vectors };
      sum = op.add(sum, assembly.stage(standInStage(layer, hiddenSize), feeds, weights)('y'));
    }
    if (moe.localExpert !== undefined && this.#mode !== 'base') {
      const stage = localExpertStage(layer, hiddenSize, moe.localExpert, this.#mode);
      sum = op.add(sum, assembly.stage(stage, { x }, weights)('y'));
    }
    if (!hasNorm) return sum;
    const norm = outputNormStage(layer, hiddenSize, weights.dtypes);
    return assembly.stage(norm, { h: base, mix: sum }, weights)('out');
  }

  /** Which experts each token visits. */
  #route(h: Value, tokens: Values) {
    const assembly = this.#assembly;
    const routing = routingOf(assembly.session, this.#mode);
    const weights = assembly.weights(this.#layer, this.#index);
    const rule = routing.choose.rule?.(this.#moeIndex);
    if (rule === undefined || (routing.tokenBuffers ?? []).length > 0)
      throw new UserError(
        'export/onnx-unsupported',
        'the method chooses experts by more than their scores and the token, which an ONNX file has no operators for',
        'Export it with --format hf.',
      );
    const buffers = Object.fromEntries(
      routing.buffers.map((name) => {
        const values_E = assembly.session.buffer(name, this.#moeIndex);
        const table = assembly.table(weights.idOf(`buffer.${name}`), values_E, this.#moe.experts);
        return [`buffer.${name}`, table];
      }),
    );
    const router = assembly.stage(
      routerStage(this.#layer, assembly.plan.hiddenSize, routing, weights.dtypes),
      { h, ...buffers },
      weights,
    );
    const { k, tokenExperts_VK: table } = rule;
    const byToken = table && {
      tokenExperts: assembly.table(weights.idOf('tokenExperts'), table, table.length / k, k),
    };
    const shape = shapeOf(routerShapes(assembly.plan), this.#moeIndex);
    const feeds = { ...tokens, ...byToken, scores: router('scores') };
    const multiplicity = assembly.stage(choiceStage(shape, rule), feeds, weights)('multiplicity');
    return { logits: router('logits'), x: router('x'), multiplicity, buffers };
  }

  /** Adds to `sum_NH` what each expert makes of the tokens that are sent to it, and of those alone. */
  #chosen(x_NH: Value, multiplicity_NE: Value, weights_NE: Value, sum_NH: Value): Value {
    const assembly = this.#assembly;
    const { widths, ...uniform } = this.#moe;
    const columns = (matrix_NE: Value) =>
      op.split(matrix_NE, { axis: 1, sizes: new Array<number>(this.#moe.experts).fill(1) });
    const weights = columns(weights_NE);
    let sum = sum_NH;
    columns(op.greater(multiplicity_NE, 0)).forEach((isSent_N1, expert) => {
      const intermediate = widths === undefined ? this.#moe.intermediate : (widths[expert] ?? 0);
      const weight_N1 = weights[expert];
      if (intermediate === 0 || weight_N1 === undefined) return;
      const own = assembly.weights(this.#layer, this.#index, expert);
      const stage = expertStage(
        { ...uniform, intermediate },
        assembly.plan.hiddenSize,
        own.dtypes,
        this.#layer.residualScale,
      );
      sum = assembly.builder.scope(`experts.${expert}`, () => {
        const rows_n = op.nonZero(
          op.squeeze(isSent_N1, { axes: [1] }),
          `${this.#mode}.${this.#index}.${expert}`,
        );
        const ownOf = (all: Value) => op.gather(all, rows_n, { axis: 0 });
        const y_nH = assembly.stage(stage, { x: ownOf(x_NH), weight: ownOf(weight_N1) }, own)('y');
        return op.addRows(sum, rows_n, y_nH);
      });
    });
    return sum;
  }
}
