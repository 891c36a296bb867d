/** What a micro-batch takes in memory while it is trained on, from sizes alone: in the arena, and inside programs. */
import { invariant } from '#core/contract/errors.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { HEAD_SLICE, LOGIT_CHUNK, QUERY_BLOCK, ROWS_TOGETHER } from '#worker/engine/index.ts';
import {
  attentionSaved,
  hasDropout,
  headWidths,
  headsSaved,
  isConvolution,
  type AttentionPlan,
} from '#worker/model/index.ts';
import { expertsAtWork, type ModelLayout } from './step-cost.ts';

/**
 * How the head becomes float32: it is, or 16 bits are widened inside its programs, or slice by slice where neither norm nor bias
 * trains.
 */
export type HeadWidening = 'none' | 'inside' | 'slices';

/** Float32 elements of a half of a layer. */
interface HalfElements {
  /** In the arena from forward to backward. */
  readonly kept: number;
  /** In the arena while its gradients are computed. */
  readonly work: number;
  /** The most that its programs have at once between their inputs and outputs. */
  readonly inside: number;
}

/** Float32 elements of a micro-batch. */
interface ActivationElements {
  /** In the arena when the first n layers keep only their input, for n from 0 to all. */
  readonly arena: readonly number[];
  /**
   * Inside programs. Kinds of programs are added up, though one runs at a time: the allocator keeps what was freed, and blocks of
   * one size rarely fit where those of another were.
   */
  readonly inside: number;
}

/** How many times as many tokens as the mean of all experts the busiest one of a layer has. */
const POPULARITY = 4;

/** The longest micro-batch. */
function tokensOf({ train, data }: RunSpec): number {
  return train.microBatch * data.maxLength;
}

function attentionElements(attention: AttentionPlan, hidden: number, spec: RunSpec): HalfElements {
  const { microBatch } = spec.train;
  const { maxLength } = spec.data;
  const tokens = tokensOf(spec);
  const saved = attentionSaved(attention);
  const widest = Math.max(...Object.values(saved));
  const kept = (values: Readonly<Record<string, number>>) =>
    Object.values(values).reduce((sum, width) => sum + tokens * width, tokens * hidden);
  if (maxLength <= QUERY_BLOCK) {
    const scores = 4 * microBatch * attention.heads * maxLength ** 2;
    return { kept: kept(saved), work: 0, inside: scores + 6 * tokens * widest };
  }
  const { queryHeads, keyHeads, valueHeads, mixed, gateProjection = 0 } = headWidths(attention);
  const heads = queryHeads + keyHeads + valueHeads;
  const keys = Math.min(maxLength, QUERY_BLOCK + (attention.window ?? Infinity));
  return {
    kept: kept({ ...headsSaved(attention), mixed }),
    work: tokens * (mixed + gateProjection + 2 * heads) + QUERY_BLOCK * keys,
    // Scores and their gradients of one block of queries beside its keys and values; and the heads of all tokens.
    inside: 6 * attention.heads * QUERY_BLOCK * keys + 2 * keys * heads + 12 * tokens * widest,
  };
}

function feedForwardElements(layout: ModelLayout, index: number, spec: RunSpec): HalfElements {
  const { layers, hiddenSize: hidden } = layout.plan;
  const layer = layers[index];
  invariant(layer !== undefined, `layer ${index} of ${layers.length}`);
  const { feedForward, feedForwardOutputNorm } = layer;
  const tokens = tokensOf(spec);
  const mlp = (intermediate: number) => tokens * 2 * (hidden + intermediate);
  if (feedForward.kind === 'dense') {
    const { intermediate } = feedForward;
    return { kept: tokens * (hidden + 2 * intermediate), work: 0, inside: mlp(intermediate) };
  }
  const { intermediate, experts, shared } = feedForward;
  const { active: k, besides } = expertsAtWork(layout, index);
  // A token may visit the widest ones.
  const widest =
    feedForward.widths?.toSorted((a, b) => b - a).slice(0, k) ?? Array<number>(k).fill(intermediate);
  const width = widest.reduce((sum, own) => sum + own, 0) + (shared?.intermediate ?? 0);
  const busiest = tokens * Math.min(1, (POPULARITY * k) / experts);
  const together = Math.max(busiest * hidden, Math.min(tokens * k * hidden, ROWS_TOGETHER));
  // What the experts add up to, before its norm, and the gradient of that.
  const sum = feedForwardOutputNorm === undefined ? 0 : hidden;
  return {
    kept: tokens * (2 * hidden + sum + 2 * width + 5 * experts + k),
    // Rows of some experts, their gradients and those of what they made of them; or of one expert on the tokens of others.
    work:
      tokens * (hidden + sum + 2 * experts) +
      Math.max(3 * together + tokens * k, besides > 0 ? 2 * tokens * hidden : 0),
    inside: (besides > 0 ? tokens * 4 * intermediate : 0) + (shared ? mlp(shared.intermediate) : 0),
  };
}

function headElements(
  { plan: { hiddenSize: hidden, vocabularySize } }: ModelLayout,
  widening: HeadWidening,
  spec: RunSpec,
): Omit<HalfElements, 'kept'> {
  const tokens = tokensOf(spec);
  const isSliced = widening === 'slices';
  const rows = isSliced ? Math.min(vocabularySize, HEAD_SLICE / hidden) : vocabularySize;
  const logits = 4 * Math.min(LOGIT_CHUNK, tokens * rows);
  const chunk = 2 * hidden * Math.min(tokens, LOGIT_CHUNK / rows);
  if (!isSliced) return { work: chunk, inside: logits + (widening === 'inside' ? rows * hidden : 0) };
  const labels = 3 * Math.min(LOGIT_CHUNK, tokens * hidden);
  return { work: tokens * hidden + Math.max(rows * hidden + chunk, labels), inside: logits };
}

/**
 * Elements of the masks of dropout of one layer.
 * @param expertRows rows of all masks for experts that are there together.
 */
function maskElements({ parameters, session }: ModelLayout, tokens: number, expertRows: number): number {
  if (!hasDropout(session?.adapters ?? null)) return 0;
  const ofRoles = new Map(
    parameters
      .filter(({ role }) => role.endsWith('.loraA'))
      .map(({ role, shape, expert }) => [role, (expert === null ? tokens : expertRows) * (shape[1] ?? 0)]),
  );
  return [...ofRoles.values()].reduce((sum, elements) => sum + elements, 0);
}

/** Masks of the scores of short rows: one for each kind of window. */
function wholeMasks({ plan }: ModelLayout, { train, data: { maxLength } }: RunSpec): number {
  if (maxLength > QUERY_BLOCK) return 0;
  const kinds = new Set(
    plan.layers.map(({ attention }) => `${attention.window} ${isConvolution(attention)}`),
  );
  return kinds.size * train.microBatch * maxLength ** 2;
}

function halvesOf(layout: ModelLayout, spec: RunSpec): readonly (readonly [HalfElements, HalfElements])[] {
  const { layers, hiddenSize } = layout.plan;
  return layers.map(({ attention }, index) => [
    attentionElements(attention, hiddenSize, spec),
    feedForwardElements(layout, index, spec),
  ]);
}

/** What the longest micro-batch takes. */
export function activationElements(
  layout: ModelLayout,
  widening: HeadWidening,
  spec: RunSpec,
): ActivationElements {
  const tokens = tokensOf(spec);
  const { hiddenSize: hidden } = layout.plan;
  const layers = halvesOf(layout, spec);
  const head = headElements(layout, widening, spec);
  const arena = Array.from({ length: layers.length + 1 }, (_, recomputed) => {
    // The first hidden state and two gradients of one; at most all tokens are at one expert.
    let kept = 3 * tokens * hidden + wholeMasks(layout, spec) + maskElements(layout, tokens, tokens);
    let work = head.work;
    for (const [index, [attention, feedForward]] of layers.entries()) {
      const own = attention.kept + feedForward.kept;
      const again = index < recomputed;
      kept += again ? tokens * hidden : own;
      work = Math.max(work, Math.max(attention.work, feedForward.work) + (again ? own : 0));
    }
    return kept + work;
  });
  const most = (half: 0 | 1) => Math.max(0, ...layers.map((halves) => halves[half].inside));
  return { arena, inside: head.inside + most(0) + most(1) };
}

/** Elements of the inputs, outputs and scratch of the largest stage on a graphics adapter. */
export function largestStageElements(layout: ModelLayout, spec: RunSpec): number {
  const { hiddenSize, vocabularySize } = layout.plan;
  const tokens = tokensOf(spec);
  const head = tokens * hiddenSize + 3 * Math.min(LOGIT_CHUNK, tokens * vocabularySize);
  const ofLayers = halvesOf(layout, spec).map(([attention, feedForward], index) => {
    // Experts that share a program have their masks there together: at most one row for each that a token visits.
    const { active } = expertsAtWork(layout, index);
    const kept = attention.kept + feedForward.kept + maskElements(layout, tokens, tokens * active);
    return kept + Math.max(...[attention, feedForward].map(({ work, inside }) => work + inside));
  });
  return Math.max(head, ...ofLayers);
}
