/** What is known of a data set, and what the model will read of it. */
import { z } from 'zod';
import { DatasetId } from './ids.ts';

/** What deserves attention in a data set. */
export const Finding = z.object({
  severity: z.enum(['error', 'warning', 'info']),
  code: z.string(),
  message: z.string(),
  /** What to do about it. */
  hint: z.string().optional(),
  /** First rows concerned, 1-based. */
  rows: z.array(z.int()),
  count: z.int(),
});
export type Finding = z.infer<typeof Finding>;

/** Who speaks in a conversation. */
export type Role = 'user' | 'assistant' | 'system';

/** Roles by the names that data sets give them; others are mapped by hand, as `role.NAME`. */
export const ROLE_NAMES: Readonly<Record<string, Role>> = {
  user: 'user',
  human: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  system: 'system',
};

/** Found without a tokenizer: format and columns. */
export const DatasetEntry = z.object({
  id: DatasetId,
  name: z.string(),
  path: z.string(),
  bytes: z.number(),
  rows: z.int(),
  fileFormat: z.enum(['jsonl', 'json', 'csv', 'tsv', 'parquet']),
  columns: z.array(z.string()),
  /** What the rows look like; `unknown` needs a mapping by hand. */
  recordFormat: z.enum(['instruction', 'prompt-response', 'messages', 'sharegpt', 'text', 'unknown']),
  mapping: z.record(z.string(), z.string()),
  sha256: z.string(),
  addedMs: z.number(),
});
export type DatasetEntry = z.infer<typeof DatasetEntry>;

/** Found with a tokenizer and template. */
export const DatasetInspection = z.object({
  rows: z.int(),
  tokens: z.int(),
  trainedTokens: z.int(),
  truncatedRows: z.int(),
  longest: z.int(),
  /** Bin upper edges in tokens and rows per bin. */
  histogram: z.array(z.object({ upTo: z.int(), rows: z.int() })),
  findings: z.array(Finding),
});
export type DatasetInspection = z.infer<typeof DatasetInspection>;

const PreviewToken = z.object({
  text: z.string(),
  id: z.int(),
  trained: z.boolean(),
  truncated: z.boolean(),
  special: z.boolean(),
});
/** A row as the model reads it, token by token. */
export const PreviewRow = z.object({ row: z.int(), tokens: z.array(PreviewToken) });
export type PreviewRow = z.infer<typeof PreviewRow>;
