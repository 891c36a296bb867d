/** A trained model written for use elsewhere. */
import { z } from 'zod';
import { ErrorInfoSchema } from './result.ts';

/** What is written: see docs/exports.md. */
export const ExportFormat = z.enum(['hf', 'delta', 'adapter', 'onnx']);
export type ExportFormat = z.infer<typeof ExportFormat>;

/** How weights are stored; `source`: each as in the checkpoint that the run started from. */
export const ExportDtype = z.enum(['source', 'F32', 'BF16', 'F16']);
export type ExportDtype = z.infer<typeof ExportDtype>;

/** What each format stores weights as unless told otherwise. */
export const USUAL_DTYPES = {
  hf: 'source',
  delta: 'source',
  adapter: 'F32',
  onnx: 'F32',
} as const satisfies Record<ExportFormat, ExportDtype>;

/** An export of the newest checkpoint of a run. */
export const ExportRequest = z.object({
  runDir: z.string(),
  format: ExportFormat,
  dtype: ExportDtype,
  /** The folder to create. It may exist if it is empty. */
  out: z.string(),
});
export type ExportRequest = z.infer<typeof ExportRequest>;

const Bytes = z.int().min(0);

/**
 * Bytes written, and those of all weights; once there are more, the files beside the weights are written, and everything is
 * read back.
 */
export const ExportProgress = z.object({ written: Bytes, of: Bytes });
export type ExportProgress = z.infer<typeof ExportProgress>;

/** What was written, and what reading it back showed. */
export const ExportResult = ExportRequest.pick({ format: true, dtype: true, out: true }).extend({
  /** Checkpoint that was exported. */
  step: z.int(),
  files: z.array(z.object({ name: z.string(), bytes: Bytes, sha256: z.string() })),
  tensors: z.int(),
  /** How far the logits of an ONNX file are from those of the run; docs/exports.md says of which rows. */
  logits: z
    .object({ largestDifference: z.number(), largestLogit: z.number(), rowsApart: z.int() })
    .optional(),
  /** In words. */
  verified: z.string(),
  notes: z.array(z.string()),
});
export type ExportResult = z.infer<typeof ExportResult>;

/** An export as it is remembered beside its run. */
export const KeptExport = ExportResult.extend({ createdMs: z.number() });
export type KeptExport = z.infer<typeof KeptExport>;

/** All exports of a run, the newest last. */
export const RunExports = z.object({ version: z.literal(1), exports: z.array(KeptExport) });
export type RunExports = z.infer<typeof RunExports>;

/** Name of a folder, without a way out of the one it is in. */
export const FolderName = z
  .string()
  .max(255)
  .regex(/^(?!\.{1,2}$)[^/\\]+$/, 'a name without / and \\');

/** What a run cannot be exported as, and why. */
export const RefusedFormat = z.object({ format: ExportFormat, error: ErrorInfoSchema });
export type RefusedFormat = z.infer<typeof RefusedFormat>;

const Exported = ExportRequest.pick({ format: true, out: true });

/** The exports of a run, and what becomes of the one that was asked for last. */
export const ExportState = z.object({
  /** Absent while nothing is written; without `progress` while the run is read and computed. */
  active: Exported.extend({ progress: ExportProgress.optional() }).optional(),
  /** The newest first; a folder may have been moved or deleted since. */
  done: z.array(KeptExport.extend({ isThere: z.boolean() })),
  /** Why it was not written. */
  failure: Exported.extend({ error: ErrorInfoSchema }).optional(),
});
export type ExportState = z.infer<typeof ExportState>;
