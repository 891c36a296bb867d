/** What is known of a checkpoint folder without loading it. */
import { z } from 'zod';
import { ModelId } from './ids.ts';

/** What config, tokenizer and headers of the weights say of a checkpoint. */
export const ModelSummary = z.object({
  path: z.string(),
  name: z.string(),
  family: z.string(),
  parameters: z.object({
    total: z.number(),
    /** Parameters one token uses: everything but the experts it is not routed to. */
    active: z.number(),
    byKind: z.record(z.string(), z.number()),
  }),
  /** Decoder layers, of which `moeLayers` have experts. */
  layers: z.int(),
  moeLayers: z.int(),
  experts: z.int(),
  expertsPerToken: z.int(),
  hiddenSize: z.int(),
  vocabularySize: z.int(),
  dtype: z.string(),
  bytes: z.number(),
  shards: z.int(),
  tokenizer: z.object({
    present: z.boolean(),
    vocabularySize: z.int().optional(),
    chatTemplate: z.boolean(),
  }),
  /** Present once computed (`models.verify`, `inspect`): reading every byte takes a while. */
  sha256: z.string().optional(),
  /** Everything wrong with the folder, in sentences; empty when it can be trained. */
  problems: z.array(z.string()),
});
export type ModelSummary = z.infer<typeof ModelSummary>;

/** A checkpoint in the list of models. */
export const ModelEntry = ModelSummary.extend({ id: ModelId, addedMs: z.number() });
export type ModelEntry = z.infer<typeof ModelEntry>;
