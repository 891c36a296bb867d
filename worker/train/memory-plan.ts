/**
 * What a run keeps in memory: how much that is, from sizes alone, and what is computed twice or left on disk to need less.
 */
import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { invariant } from '#core/contract/errors.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { HEAD_SLICE, LOGIT_CHUNK, QUERY_BLOCK, momentBytes } from '#worker/engine/index.ts';
import {
  attentionSaved,
  elementCount,
  hasDropout,
  headWidths,
  isAdded,
  type ParameterRole,
} from '#worker/model/index.ts';
import { expertsAtWork, type ModelLayout } from './step-cost.ts';

/** How a run fits in memory. Megabytes are 10⁶ bytes. */
export interface MemoryPlan {
  /** Peak of the worker process. */
  readonly totalMB: number;
  readonly parts: Readonly<Record<string, number>>;
  /** So many of the first layers keep only their input, and are computed again in the backward pass. */
  readonly recomputedLayers: number;
  /** The frozen experts of so many of the first layers stay on disk, and are read whenever they are used. */
  readonly streamedLayers: number;
}

/**
 * What a worker takes beside the parts that follow from sizes: Node, ONNX Runtime, programs, and what the allocator keeps.
 * Measured on models of 2, 9 and 118 million parameters, where the whole estimate is then within 8 % of the peak.
 */
const RUNTIME_MB = 330;
/** The part of the budget that a plan may fill: estimates err by about so much. */
const FILL = 0.9;

/** Operations and bytes a second that choose between computing twice and reading again; only their ratio matters. */
const FLOPS = 100e9;
const READ_BYTES = 2e9;

/** Memory other programs leave, in MB; Linux tells more precisely than Node does. */
export function availableMemoryMB(): number {
  try {
    const match = /MemAvailable:\s+(\d+) kB/.exec(readFileSync('/proc/meminfo', 'utf8'));
    if (match?.[1] !== undefined) return (Number(match[1]) * 1024) / 1e6;
  } catch {
    // No such file outside Linux.
  }
  return freemem() / 1e6;
}

/** What a run may take, in MB: what its document or the settings say, or what is available now. */
export function memoryBudgetMB(spec: RunSpec): number {
  return spec.engine.memoryBudgetMB ?? availableMemoryMB();
}

/** Elements of layer `index`: kept from forward to backward, and needed while it is at work. */
function layerElements(layout: ModelLayout, index: number, spec: RunSpec) {
  const { layers, hiddenSize: hidden } = layout.plan;
  const layer = layers[index];
  invariant(layer !== undefined, `layer ${index} of ${layers.length}`);
  const { attention, feedForward } = layer;
  const tokens = spec.train.microBatch * spec.data.maxLength;
  const widths = Object.values(attentionSaved(attention));
  const { microBatch } = spec.train;
  const { maxLength } = spec.data;
  const { queryHeads, keyHeads, valueHeads } = headWidths(attention);
  // Scores four times over; of long rows those of one block of queries, beside the heads and their gradients.
  const attentionScratch =
    maxLength > QUERY_BLOCK
      ? 4 * attention.heads * QUERY_BLOCK * maxLength + 2 * tokens * (queryHeads + keyHeads + valueHeads)
      : 4 * microBatch * attention.heads * maxLength ** 2 + 6 * tokens * Math.max(...widths);
  const kept = tokens * (2 * hidden + widths.reduce((sum, width) => sum + width, 0));
  if (feedForward.kind === 'dense') {
    const { intermediate } = feedForward;
    return {
      kept: kept + tokens * 2 * intermediate,
      scratch: Math.max(attentionScratch, tokens * 2 * (hidden + intermediate)),
    };
  }
  const { intermediate, experts, shared } = feedForward;
  const { active: k, besides } = expertsAtWork(layout, index);
  // A token may visit the widest ones.
  const widest =
    feedForward.widths?.toSorted((a, b) => b - a).slice(0, k) ?? Array<number>(k).fill(intermediate);
  const width = widest.reduce((sum, own) => sum + own, 0) + (shared?.intermediate ?? 0);
  return {
    kept: kept + tokens * (hidden + 2 * width + 5 * experts + k),
    scratch: Math.max(
      attentionScratch,
      tokens * k * hidden * 3,
      // One expert at a time on the tokens of others.
      besides > 0 ? tokens * (2 * hidden + 4 * intermediate) : 0,
    ),
  };
}

/** What follows from the sizes of all parameters. */
interface Sizes {
  /** Elements in the checkpoint, and of everything that trains or does not. */
  readonly stored: number;
  readonly trained: number;
  readonly frozen: number;
  /** Bytes of frozen matrices that are held as int8 rows; they do not count above. */
  readonly roundedBytes: number;
  /** The head is held in 16 bits, and widened while it is used. */
  readonly isHeadNarrow: boolean;
  /** Rows of the head that are used at once: a slice where it is narrow and neither norm nor bias trains. */
  readonly headRows: number;
  /** Elements of each layer: outside its experts, in them, and in those that are frozen and may be left on disk. */
  readonly layers: readonly { common: number; experts: number; frozenExperts: number }[];
}

/** One walk over the parameters, of which large models have tens of thousands. */
function sizesOf({ plan, parameters, isTrained, isRounded, storedBytes }: ModelLayout): Sizes {
  const layers = plan.layers.map(() => ({ common: 0, experts: 0, frozenExperts: 0 }));
  let [stored, trained, frozen, roundedBytes] = [0, 0, 0, 0];
  const trainedHead = new Set<ParameterRole>();
  const head = plan.tiedHead ? 'embedding' : 'head';
  for (const parameter of parameters) {
    const { role, layer, expert, shape } = parameter;
    const count = elementCount(shape);
    const trains = isTrained(parameter);
    if (!isAdded(parameter)) stored += count;
    const isHeldRounded = isRounded?.(parameter) ?? false;
    if (trains) trained += count;
    else if (isHeldRounded) roundedBytes += count + 4 * (shape[0] ?? 0);
    // One that is only looked up stays on disk.
    else if (role !== 'embedding' || plan.tiedHead) frozen += count;
    if (trains && [head, 'finalNorm', 'finalNormBias', 'headBias'].includes(role)) trainedHead.add(role);
    const own = layer === null ? undefined : layers[layer];
    // Computing a layer again does not run its token router.
    if (own === undefined || role === 'tokenEmbedding') continue;
    if (expert === null) own.common += count;
    else own.experts += count;
    if (expert !== null && !trains && !isHeldRounded) own.frozenExperts += count;
  }
  const isHeadNarrow = !trainedHead.has(head) && storedBytes < 4 * stored;
  const isHeadSliced = isHeadNarrow && trainedHead.size === 0;
  return {
    stored,
    trained,
    frozen,
    roundedBytes,
    layers,
    isHeadNarrow,
    headRows: Math.min(plan.vocabularySize, isHeadSliced ? HEAD_SLICE / plan.hiddenSize : Infinity),
  };
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

/** Elements of activations at the longest micro-batch when the first n layers keep only their input, for n from 0 to all. */
function activationElements(layout: ModelLayout, { isHeadNarrow, headRows }: Sizes, spec: RunSpec): number[] {
  const { plan } = layout;
  const { hiddenSize: hidden } = plan;
  const tokens = spec.train.microBatch * spec.data.maxLength;
  const head = (isHeadNarrow ? headRows * hidden : 0) + 3 * Math.min(LOGIT_CHUNK, tokens * headRows);
  const layers = Array.from(plan.layers.keys(), (index) => layerElements(layout, index, spec));
  return Array.from({ length: layers.length + 1 }, (_, recomputed) => {
    // At most all tokens are at one expert.
    let kept = 2 * tokens * hidden + maskElements(layout, tokens, tokens);
    let scratch = head;
    for (const [index, own] of layers.entries()) {
      const again = index < recomputed;
      kept += again ? tokens * hidden : own.kept;
      scratch = Math.max(scratch, own.scratch + (again ? own.kept : 0));
    }
    return kept + scratch;
  });
}

/** Elements of the inputs, outputs and scratch of the largest stage on a graphics adapter. */
export function largestStageElements(layout: ModelLayout, spec: RunSpec): number {
  const { hiddenSize, vocabularySize, layers } = layout.plan;
  const tokens = spec.train.microBatch * spec.data.maxLength;
  const head = tokens * hiddenSize + 3 * Math.min(LOGIT_CHUNK, tokens * vocabularySize);
  const ofLayers = Array.from(layers.keys(), (index) => {
    const { kept, scratch } = layerElements(layout, index, spec);
    // Experts that share a program have their masks there together: at most one row for each that a token visits.
    const { active } = expertsAtWork(layout, index);
    return kept + scratch + maskElements(layout, tokens, tokens * active);
  });
  return Math.max(head, ...ofLayers);
}

/** Seconds of a micro-batch that each layer costs when it is computed once more, and bytes of its frozen experts. */
function layerPrices(layout: ModelLayout, { stored, layers }: Sizes, spec: RunSpec) {
  const tokens = spec.train.microBatch * spec.data.maxLength;
  return layout.plan.layers.map(({ feedForward }, index) => {
    const { common, experts, frozenExperts } = layers[index] ?? { common: 0, experts: 0, frozenExperts: 0 };
    const { active: k } = expertsAtWork(layout, index);
    const share = feedForward.kind === 'moe' ? k / feedForward.experts : 1;
    return {
      recomputeSeconds: (2 * (common + share * experts) * tokens) / FLOPS,
      frozenExpertBytes: frozenExperts * (layout.storedBytes / Math.max(1, stored)),
    };
  });
}

/**
 * Plans a run within `budgetMB`: of all numbers of layers to compute twice and to stream that make it fit, those that cost
 * the least time. Where nothing does, everything is done, and `totalMB` says what is missing.
 */
export function planMemory(layout: ModelLayout, spec: RunSpec, budgetMB: number): MemoryPlan {
  const sizes = sizesOf(layout);
  const { stored, frozen, trained, roundedBytes } = sizes;
  const prices = layerPrices(layout, sizes, spec);
  const layers = layout.plan.layers.length;
  const streamable = 1 + prices.findLastIndex(({ frozenExpertBytes }) => frozenExpertBytes > 0);
  const activations = activationElements(layout, sizes, spec);
  const planned = (recomputedLayers: number, streamedLayers: number) => {
    const streamed = prices.slice(0, streamedLayers);
    const onDisk = streamed.reduce((sum, { frozenExpertBytes }) => sum + frozenExpertBytes, 0);
    const parts = {
      'frozen weights': (frozen * (layout.storedBytes / Math.max(1, stored)) - onDisk + roundedBytes) / 1e6,
      'trained weights': (trained * 4) / 1e6,
      gradients: (trained * 4) / 1e6,
      'optimizer moments': (trained * momentBytes(spec.train.optimizer.moments)) / 1e6,
      activations: ((activations[recomputedLayers] ?? 0) * 4) / 1e6,
      runtime: RUNTIME_MB,
    };
    const totalMB = Object.values(parts).reduce((sum, part) => sum + part, 0);
    // Forward and backward read a streamed layer, and so does computing it again.
    const seconds = prices.reduce((sum, { recomputeSeconds, frozenExpertBytes }, layer) => {
      const again = layer < recomputedLayers;
      const reads = layer < streamedLayers ? (again ? 3 : 2) * (frozenExpertBytes / READ_BYTES) : 0;
      return sum + reads + (again ? recomputeSeconds : 0);
    }, 0);
    return { plan: { totalMB, parts, recomputedLayers, streamedLayers }, seconds };
  };
  let best = planned(layers, streamable);
  for (let recomputed = 0; recomputed <= layers; recomputed++) {
    for (let streamed = 0; streamed <= streamable; streamed++) {
      const candidate = planned(recomputed, streamed);
      if (candidate.plan.totalMB > FILL * budgetMB) continue;
      if (best.plan.totalMB > FILL * budgetMB || candidate.seconds < best.seconds) best = candidate;
    }
  }
  return best.plan;
}

/** Whether a plan that leaves out of memory what it can is still too large to start. */
export function exceedsBudget({ totalMB }: MemoryPlan, budgetMB: number): boolean {
  return totalMB * FILL > budgetMB;
}
