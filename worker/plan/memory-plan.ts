/**
 * What a run keeps in memory: how much that is, from sizes alone, and what is computed twice or left on disk to need less.
 */
import { freemem } from 'node:os';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { momentBytes } from '#worker/engine/index.ts';
import { elementCount, isAdded, type ParameterRole } from '#worker/model/index.ts';
import { activationElements, type HeadWidening } from './activation-sizes.ts';
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
 * What a worker takes beside the parts that follow from sizes: Node, ONNX Runtime, programs. Measured on models of 9 to 1,045 million
 * parameters and micro-batches of 512 to 4,096 tokens, where the whole estimate is then within 5 % of the peak.
 */
const RUNTIME_MB = 250;
/** The part of the budget that a plan may fill: estimates err by about so much. */
const FILL = 0.9;

/** Operations and bytes a second that choose between computing twice and reading again; only their ratio matters. */
const FLOPS = 100e9;
const READ_BYTES = 2e9;

/** What a run may take, in MB: what its document or the settings say, or what other programs leave now. */
export function memoryBudgetMB(spec: RunSpec): number {
  return spec.engine.memoryBudgetMB ?? freemem() / 1e6;
}

/** What follows from the sizes of all parameters. */
interface Sizes {
  /** Elements in the checkpoint, and of everything that trains or does not. */
  readonly stored: number;
  readonly trained: number;
  readonly frozen: number;
  /** Bytes of frozen matrices that are held as int8 rows; they do not count above. */
  readonly roundedBytes: number;
  readonly widening: HeadWidening;
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
  const widening = !isHeadNarrow ? 'none' : trainedHead.size === 0 ? 'slices' : 'inside';
  return { stored, trained, frozen, roundedBytes, layers, widening };
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
  const activations = activationElements(layout, sizes.widening, spec);
  const planned = (recomputedLayers: number, streamedLayers: number) => {
    const streamed = prices.slice(0, streamedLayers);
    const onDisk = streamed.reduce((sum, { frozenExpertBytes }) => sum + frozenExpertBytes, 0);
    const parts = {
      'frozen weights': (frozen * (layout.storedBytes / Math.max(1, stored)) - onDisk + roundedBytes) / 1e6,
      'trained weights': (trained * 4) / 1e6,
      gradients: (trained * 4) / 1e6,
      'optimizer moments': (trained * momentBytes(spec.train.optimizer.moments)) / 1e6,
      activations: ((activations.arena[recomputedLayers] ?? 0) * 4) / 1e6,
      programs: (activations.inside * 4) / 1e6,
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
