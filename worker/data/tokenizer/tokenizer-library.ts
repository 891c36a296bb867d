/** What is asked of the tokenizer library beyond its own interface, and where it is made to do as the reference does. */
import { ByteFallbackDecoder, SequenceNormalizer, type Tokenizer } from '@huggingface/tokenizers';
import type { TokenizerJson } from './tokenizer-files.ts';

/** The library's byte-fallback decoder drops a byte-order mark at the start of a run of bytes, where the reference keeps it. */
export function keepByteOrderMarks({ decoder }: Tokenizer): void {
  for (const step of [decoder, ...(decoder?.decoders ?? [])]) {
    if (step instanceof ByteFallbackDecoder)
      step.text_decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  }
}

/** The tokens a post-processor puts before and after a text. */
export function aroundText(library: Tokenizer): { before: string[]; after: string[] } {
  const mark = '\u0000';
  const tokens = library.post_processor?.post_process([mark], null, true).tokens ?? [mark];
  const at = tokens.indexOf(mark);
  return { before: tokens.slice(0, at), after: tokens.slice(at + 1) };
}

/** The normaliser less any step that puts a prefix before every text. */
export function withoutPrepend(config: TokenizerJson['normalizer']): (text: string) => string {
  if (config === null) return (text) => text;
  const steps = (config.type === 'Sequence' ? (config.normalizers ?? []) : [config]).filter(
    (step) => step.type !== 'Prepend',
  );
  const sequence = new SequenceNormalizer({ type: 'Sequence', normalizers: steps });
  return (text) => sequence.normalize(text);
}
