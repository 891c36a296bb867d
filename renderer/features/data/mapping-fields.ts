/** What a column can mean, and the names of record formats. */
import type { DatasetEntry } from '#core/contract/dataset.ts';

/** Record formats in words. */
export const formatNames: Readonly<Record<DatasetEntry['recordFormat'], string>> = {
  instruction: 'instruction, input, output',
  'prompt-response': 'prompt and response',
  messages: 'messages',
  sharegpt: 'ShareGPT conversations',
  text: 'plain text',
  unknown: 'not recognised',
};

/** Fields that a column can be mapped to; `none` leaves the column out. */
export const columnFields: readonly {
  readonly value: string;
  readonly label: string;
  readonly note: string;
}[] = [
  { value: 'none', label: 'not used', note: '' },
  { value: 'prompt', label: 'prompt', note: 'what is asked' },
  { value: 'input', label: 'input', note: 'appended to the prompt' },
  { value: 'response', label: 'response', note: 'what is trained' },
  { value: 'system', label: 'system', note: 'system message' },
  { value: 'messages', label: 'messages', note: 'a list of turns' },
  { value: 'text', label: 'text', note: 'read as it is' },
];

type Mapping = Readonly<Record<string, string>>;

/** The field that `column` is mapped to, or `none`. */
export function fieldOf(mapping: Mapping, column: string): string {
  return Object.entries(mapping).find(([, mapped]) => mapped === column)?.[0] ?? 'none';
}

/** `mapping` with `column` moved to `field`; a field has one column and a column one field. */
export function mapColumn(mapping: Mapping, column: string, field: string): Record<string, string> {
  const rest = Object.entries(mapping).filter(([key, mapped]) => key !== field && mapped !== column);
  return Object.fromEntries(field === 'none' ? rest : [...rest, [field, column]]);
}

/** What the mapping still needs, as a sentence, or undefined when rows can be read with it. */
export function missingFields(mapping: Mapping): string | undefined {
  const has = (field: string) => mapping[field] !== undefined;
  if (has('messages') || has('text')) return undefined;
  if (has('prompt') && has('response')) return undefined;
  if (has('prompt')) return 'Say which column holds the response.';
  if (has('response')) return 'Say which column holds the prompt.';
  return 'Say which columns hold the prompt and the response, or the messages, or the text.';
}
