/** How much memory a run will need, from sizes alone. */
import type { RunSpec } from '#core/contract/run-spec.ts';
import {
  attentionSaved,
  elementCount,
  isAdded,
  type DecoderPlan,
  type Parameter,
} from '#worker/model/index.ts';

/** Megabytes of 10⁶ bytes. */
export interface MemoryEstimate {
  readonly totalMB: number;
  readonly parts: Readonly<Record<string, number>>;
}

/**
 * What a worker takes beside the parts that follow from sizes: Node, ONNX Runtime, programs, and what the allocator keeps.
 * Measured on models of 2, 9 and 118 million parameters, where the whole estimate is then within 8 % of the peak.
 */
const RUNTIME_MB = 330;
/** Elements of a chunk of logits, of which the head holds about three at once. */
const LOGIT_CHUNK = 8_000_000;

/**
 * Peak memory of training. Activations count what the executor keeps for the backward pass at the longest micro-batch.
 * @param fileBytes size of the checkpoint's tensors; frozen ones are held as stored.
 */
export function estimateMemory(
  plan: DecoderPlan,
  parameters: readonly Parameter[],
  isTrained: (parameter: Parameter) => boolean,
  spec: RunSpec,
  fileBytes: number,
): MemoryEstimate {
  const size = (counts: (parameter: Parameter) => boolean) =>
    parameters.filter(counts).reduce((sum, p) => sum + elementCount(p.shape), 0);
  const stored = size((parameter) => !isAdded(parameter));
  const frozen = size((parameter) => !isTrained(parameter));
  const trained = size(isTrained);
  const tokens = spec.train.microBatch * spec.data.maxLength;
  const hidden = plan.hiddenSize;
  let kept = 0;
  let scratch = 0;
  for (const { attention, feedForward } of plan.layers) {
    const saved = Object.values(attentionSaved(attention)).reduce((sum, width) => sum + width, 0);
    const widest = Math.max(...Object.values(attentionSaved(attention)));
    kept += tokens * (2 * hidden + saved);
    const scores = 4 * spec.train.microBatch * attention.heads * spec.data.maxLength ** 2;
    scratch = Math.max(scratch, scores + 6 * tokens * widest);
    if (feedForward.kind === 'dense') {
      kept += tokens * 2 * feedForward.intermediate;
      scratch = Math.max(scratch, tokens * 2 * (hidden + feedForward.intermediate));
    } else {
      const { expertsPerToken: k, intermediate, experts, shared } = feedForward;
      const width = k * intermediate + (shared?.intermediate ?? 0);
      kept += tokens * (hidden + 2 * width + 5 * experts + k);
      scratch = Math.max(scratch, tokens * k * hidden * 3);
    }
  }
  const logits = 3 * Math.min(LOGIT_CHUNK, tokens * plan.vocabularySize);
  const parts = {
    'frozen weights': (frozen * (fileBytes / Math.max(1, stored))) / 1e6,
    'trained weights': (trained * 4) / 1e6,
    gradients: (trained * 4) / 1e6,
    'optimizer moments': (trained * 8) / 1e6,
    activations: ((kept + Math.max(scratch, logits)) * 4) / 1e6,
    runtime: RUNTIME_MB,
  };
  return { totalMB: Object.values(parts).reduce((sum, part) => sum + part, 0), parts };
}
