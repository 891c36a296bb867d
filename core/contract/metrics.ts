/** What a run measures. A quantity that was not measured is absent, never zero. */
import { z } from 'zod';

/** One optimizer step. Loss is the mean cross-entropy over the trained tokens of the step, with the weights before it. */
export const StepMetrics = z.object({
  step: z.int(),
  /** Milliseconds since the epoch at commit. */
  wallMs: z.number(),
  loss: z.number(),
  learningRate: z.number(),
  /** Norm of the whole gradient before clipping. */
  gradNorm: z.number(),
  /** Non-padding tokens of the step. */
  tokens: z.int(),
  trainedTokens: z.int(),
  tokensPerSecond: z.number(),
  /** Resident memory of the worker, megabytes of 10^6 bytes. */
  rssMB: z.number(),
  /** Memory of the graphics adapter that tensors of the run take, where it trains there. */
  deviceMB: z.number().optional(),
  /** What the auxiliary losses add to the loss that is trained, where the method has any. */
  auxLoss: z.number().optional(),
});
export type StepMetrics = z.infer<typeof StepMetrics>;

/** Loss on the validation split after `step` steps. */
export const Evaluation = z.object({
  step: z.int(),
  loss: z.number(),
  trainedTokens: z.int(),
  /** The same on the general data, where the run has some. */
  general: z.object({ loss: z.number(), trainedTokens: z.int() }).optional(),
});
export type Evaluation = z.infer<typeof Evaluation>;

/** Something worth telling: a checkpoint, a phase switch, an alert, the end. */
export const RunEventRecord = z.object({
  id: z.int(),
  step: z.int(),
  wallMs: z.number(),
  kind: z.enum([
    'started',
    'resumed',
    'paused',
    'phase',
    'checkpoint',
    'evaluation',
    'alert',
    'log',
    'ended',
  ]),
  /** A sentence for a person. */
  message: z.string(),
});
export type RunEventRecord = z.infer<typeof RunEventRecord>;

/** Routing of one optimizer step; arrays are layer-major `[layers × experts]`. */
export interface RoutingRecord {
  readonly step: number;
  /** Selections of all k choices over real tokens (condensers counted apart: they are not choices). */
  readonly counts_LE: Uint32Array;
  /** Sum of gate weights over real tokens. */
  readonly mass_LE?: Float32Array;
  /** Sum of the router's scores over real tokens, chosen or not. */
  readonly soft_LE?: Float32Array;
  /** Norm of each expert's gradient before clipping; NaN where nothing of the expert trains. */
  readonly gradNorm_LE?: Float32Array;
  /** Router bias after the step, where the method keeps one. */
  readonly bias_LE?: Float32Array;
  /** Always-active experts by layer, where the method has any. */
  readonly condensers?: readonly (readonly number[])[];
}

const Base64 = z.base64();

/** A `RoutingRecord` on the wire: little-endian u32 or f32 in base64. */
export const PackedRouting = z.object({
  step: z.int(),
  counts: Base64,
  mass: Base64.optional(),
  soft: Base64.optional(),
  gradNorm: Base64.optional(),
  bias: Base64.optional(),
  condensers: z.array(z.array(z.int())).optional(),
});
export type PackedRouting = z.infer<typeof PackedRouting>;

function toBase64(array: Uint32Array | Float32Array): string {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function fromBase64(text: string): ArrayBuffer {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes.buffer;
}

/** Packs a record for a text channel. */
export function packRouting(record: RoutingRecord): PackedRouting {
  return {
    step: record.step,
    counts: toBase64(record.counts_LE),
    ...(record.mass_LE && { mass: toBase64(record.mass_LE) }),
    ...(record.soft_LE && { soft: toBase64(record.soft_LE) }),
    ...(record.gradNorm_LE && { gradNorm: toBase64(record.gradNorm_LE) }),
    ...(record.bias_LE && { bias: toBase64(record.bias_LE) }),
    ...(record.condensers && { condensers: record.condensers.map((layer) => [...layer]) }),
  };
}

/** The inverse of `packRouting`. */
export function unpackRouting(packed: PackedRouting): RoutingRecord {
  return {
    step: packed.step,
    counts_LE: new Uint32Array(fromBase64(packed.counts)),
    ...(packed.mass !== undefined && { mass_LE: new Float32Array(fromBase64(packed.mass)) }),
    ...(packed.soft !== undefined && { soft_LE: new Float32Array(fromBase64(packed.soft)) }),
    ...(packed.gradNorm !== undefined && { gradNorm_LE: new Float32Array(fromBase64(packed.gradNorm)) }),
    ...(packed.bias !== undefined && { bias_LE: new Float32Array(fromBase64(packed.bias)) }),
    ...(packed.condensers && { condensers: packed.condensers }),
  };
}
