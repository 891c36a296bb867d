/** Data sets: files to micro-batches. */
export * from './source.ts';
export { findAssistantSpans } from './assistant-spans.ts';
export type { ChatMessage } from './mapping.ts';
export { spanTokens } from './processor.ts';
export { openTokenizer } from './tokenizer.ts';
export type { Tokenizer } from './tokenizer.ts';
