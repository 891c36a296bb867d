/** From a row with named fields to a conversation or a plain text. */
import { UserError } from '#core/contract/errors.ts';
import { type DatasetEntry, type Role, ROLE_NAMES } from '#core/contract/dataset.ts';
import type { SourceRow } from './sources/source-row.ts';

/** A turn of a conversation. */
export interface ChatMessage {
  readonly role: Role;
  readonly content: string;
}

/** A row of turns. */
export interface Conversation {
  readonly kind: 'conversation';
  readonly messages: readonly ChatMessage[];
}

/** A row without turns. */
export interface PlainText {
  readonly kind: 'text';
  readonly text: string;
}

/**
 * Which column holds what. Keys: `prompt` (alias `instruction`, `question`), `input` (appended to the prompt after a blank line),
 * `response` (alias `output`, `answer`, `completion`), `system`, or `messages` (alias `conversations`), or `text`;
 * `role.NAME` gives the role that NAME stands for, e.g. `{"role.bot": "assistant"}`.
 */
export type Mapping = Readonly<Record<string, string>>;

/** What the rows of a file look like. */
export type RecordFormat = DatasetEntry['recordFormat'];

/** What a few rows say of the format of all. */
export interface DetectedFormat {
  readonly format: RecordFormat;
  /** Empty for `unknown`. */
  readonly mapping: Mapping;
  /** Share of the sample rows that fit, 0 to 1. */
  readonly confidence: number;
  /** In words. */
  readonly why: string;
}

const ALIASES: Readonly<Record<string, string>> = {
  instruction: 'prompt',
  question: 'prompt',
  output: 'response',
  answer: 'response',
  completion: 'response',
  conversations: 'messages',
};
const FIELDS: readonly string[] = ['prompt', 'input', 'response', 'system', 'messages', 'text'];

const isRole = (name: string): name is Role => name === 'user' || name === 'assistant' || name === 'system';

const CANDIDATES: readonly { format: RecordFormat; mapping: Mapping }[] = [
  { format: 'messages', mapping: { messages: 'messages' } },
  { format: 'sharegpt', mapping: { messages: 'conversations' } },
  { format: 'messages', mapping: { messages: 'conversation' } },
  { format: 'instruction', mapping: { prompt: 'instruction', input: 'input', response: 'output' } },
  { format: 'instruction', mapping: { prompt: 'instruction', response: 'output' } },
  { format: 'instruction', mapping: { prompt: 'instruction', response: 'response' } },
  { format: 'instruction', mapping: { prompt: 'instruction', input: 'input', response: 'answer' } },
  { format: 'prompt-response', mapping: { prompt: 'prompt', response: 'response' } },
  { format: 'prompt-response', mapping: { prompt: 'prompt', response: 'completion' } },
  { format: 'prompt-response', mapping: { prompt: 'question', response: 'answer' } },
  { format: 'prompt-response', mapping: { prompt: 'question', response: 'response' } },
  { format: 'prompt-response', mapping: { prompt: 'query', response: 'response' } },
  { format: 'prompt-response', mapping: { prompt: 'input', response: 'output' } },
  { format: 'prompt-response', mapping: { prompt: 'problem', response: 'solution' } },
  { format: 'text', mapping: { text: 'text' } },
  { format: 'text', mapping: { text: 'content' } },
];
const SYSTEM_COLUMNS: readonly string[] = ['system', 'system_prompt'];

/** Whether the columns of `mapping` hold values of the right kind in one row; only `input` may be missing. */
function fits(row: Readonly<Record<string, unknown>>, mapping: Mapping): boolean {
  return Object.entries(mapping).every(([field, column]) => {
    const value = row[column];
    if (field === 'messages') return Array.isArray(value) && value.every((item) => typeof item === 'object');
    if (field === 'input') return column in row;
    return typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint';
  });
}

/** Whether a row that fits also holds an answer: some sets have an `output` that is always empty beside the real one. */
function isFilled(row: Readonly<Record<string, unknown>>, mapping: Mapping): boolean {
  const value = row[mapping['response'] ?? mapping['text'] ?? mapping['messages'] ?? ''];
  return typeof value !== 'string' || value.trim() !== '';
}

/** Recognises what rows look like from a sample (50 are plenty); `unknown` when no known set of columns fits half of them. */
export function detectFormat(sample: readonly SourceRow[]): DetectedFormat {
  const columns = new Set(sample.flatMap(({ value }) => Object.keys(value)));
  const scored = CANDIDATES.map((candidate) => {
    const fitting = sample.filter(({ value }) => fits(value, candidate.mapping));
    const filled = fitting.filter(({ value }) => isFilled(value, candidate.mapping));
    return { ...candidate, fitting: fitting.length, filled: filled.length };
  }).filter(({ fitting }) => fitting > 0 && 2 * fitting >= sample.length);
  // Sorting keeps the order of equals, and the more telling candidates are listed first.
  const [best] = scored.sort((a, b) => b.filled - a.filled || b.fitting - a.fitting);
  if (best === undefined) {
    const listed = [...columns].slice(0, 12).map((column) => `"${column}"`);
    const why = `no known format has the columns ${listed.join(', ')}`;
    return { format: 'unknown', mapping: {}, confidence: 0, why };
  }
  const system = SYSTEM_COLUMNS.find((column) => columns.has(column));
  const mapping =
    best.mapping['prompt'] !== undefined && system !== undefined ? { ...best.mapping, system } : best.mapping;
  const confidence = best.fitting / sample.length;
  const found = Object.values(mapping).map((column) => `"${column}"`);
  const why = `${Math.round(confidence * 100)} % of ${sample.length} sample rows hold ${found.join(' and ')}`;
  return { format: formatOf(best.format, mapping, sample), mapping, confidence, why };
}

/** A list of messages is ShareGPT when its items say `from`, whatever the column is called. */
function formatOf(format: RecordFormat, mapping: Mapping, sample: readonly SourceRow[]): RecordFormat {
  const column = mapping['messages'];
  if (column === undefined) return format;
  const items = sample.flatMap(({ value }): unknown[] => {
    const list = value[column];
    return Array.isArray(list) ? list : [];
  });
  return items.some((item) => typeof item === 'object' && item !== null && 'from' in item)
    ? 'sharegpt'
    : 'messages';
}

/**
 * Checks a mapping written by hand and resolves its aliases.
 * @param columns of the file; a mapped column that is missing is an error.
 * @throws UserError `data/mapping`.
 */
export function checkMapping(mapping: Mapping, columns: readonly string[], file: string): Mapping {
  const fail = (what: string, hint: string) => new UserError('data/mapping', `${file}: ${what}`, hint);
  const result: Record<string, string> = {};
  for (const [key, column] of Object.entries(mapping)) {
    if (key.startsWith('role.')) {
      if (!isRole(column)) {
        throw fail(
          `mapping "${key}" is "${column}"; expected user, assistant or system`,
          'Correct the role.',
        );
      }
      result[key] = column;
      continue;
    }
    const field = ALIASES[key] ?? key;
    if (!FIELDS.includes(field)) {
      throw fail(
        `mapping names the unknown field "${key}"`,
        `Known fields: ${FIELDS.join(', ')}, role.NAME.`,
      );
    }
    if (!columns.includes(column)) {
      throw fail(
        `mapping ${key}=${column} names a column the file lacks`,
        `Columns: ${columns.slice(0, 30).join(', ')}.`,
      );
    }
    result[field] = column;
  }
  const complete = 'messages' in result || 'text' in result || ('prompt' in result && 'response' in result);
  if (!complete) {
    throw fail(
      'the mapping is incomplete',
      `Give prompt and response, or messages, or text. Columns: ${columns.slice(0, 30).join(', ')}.`,
    );
  }
  return result;
}

/**
 * Reads a row with a mapping from {@link detectFormat} or {@link checkMapping}.
 * @throws UserError that starts with "row N:" for a wrong role, a missing field, or an empty answer (`data/empty-answer`).
 */
export function toConversation({ row, value }: SourceRow, mapping: Mapping): Conversation | PlainText {
  const at = `row ${row.toLocaleString('en-US')}`;
  const column = mapping['messages'];
  if (column !== undefined)
    return { kind: 'conversation', messages: readMessages(value[column], column, mapping, at) };

  const read = (field: string): string | undefined => {
    const name = mapping[field];
    return name === undefined ? undefined : readText(value[name], name, at);
  };
  if (mapping['text'] !== undefined) {
    const text = read('text') ?? '';
    if (text.trim() === '') throw missing(at, mapping['text'], 'data/empty-text', 'text');
    return { kind: 'text', text };
  }
  const prompt = read('prompt') ?? '';
  const input = read('input') ?? '';
  const response = read('response') ?? '';
  const system = read('system');
  if (prompt.trim() === '' && input.trim() === '') {
    throw missing(at, mapping['prompt'] ?? 'prompt', 'data/empty-prompt', 'prompt');
  }
  if (response.trim() === '')
    throw missing(at, mapping['response'] ?? 'response', 'data/empty-answer', 'answer');
  const user = [prompt, input].filter((part) => part !== '').join('\n\n');
  const messages: ChatMessage[] = [
    { role: 'user', content: user },
    { role: 'assistant', content: response },
  ];
  return {
    kind: 'conversation',
    messages: system ? [{ role: 'system', content: system }, ...messages] : messages,
  };
}

function missing(at: string, column: string, code: string, what: string): UserError {
  return new UserError(
    code,
    `${at}: "${column}" is empty; expected the ${what}`,
    'Fill in or delete the row, or map another column.',
  );
}

function readText(value: unknown, field: string, at: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return String(value);
  throw new UserError(
    'data/not-text',
    `${at}: "${field}" is ${Array.isArray(value) ? 'a list' : 'an object'}; expected text`,
    'Map a column that holds text; map a list of messages as "messages".',
  );
}

function readMessages(value: unknown, column: string, mapping: Mapping, at: string): ChatMessage[] {
  if (!Array.isArray(value) || value.length === 0) {
    const found = Array.isArray(value)
      ? 'an empty list'
      : value === undefined
        ? 'missing'
        : `a ${typeof value}`;
    throw new UserError(
      'data/messages',
      `${at}: "${column}" is ${found}; expected a list of messages`,
      'Each row needs a list of {"role": …, "content": …} or {"from": …, "value": …}.',
    );
  }
  const messages = value.map((item: unknown, index) => readMessage(item, `${column}[${index}]`, mapping, at));
  const empty = messages.findIndex(({ role, content }) => role === 'assistant' && content.trim() === '');
  if (empty >= 0) throw missing(at, `${column}[${empty}].content`, 'data/empty-answer', 'answer');
  if (!messages.some(({ role }) => role === 'assistant')) {
    throw new UserError(
      'data/no-answer',
      `${at}: "${column}" has no message of the assistant, so there is no answer to learn`,
      'Add the answer or delete the row; a role of another name can be mapped (role.NAME=assistant).',
    );
  }
  return messages;
}

function readMessage(item: unknown, where: string, mapping: Mapping, at: string): ChatMessage {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) {
    throw new UserError(
      'data/messages',
      `${at}: ${where} is ${Array.isArray(item) ? 'a list' : item === null ? 'null' : `a ${typeof item}`}; expected an object`,
      'Write each message as {"role": …, "content": …}.',
    );
  }
  const fields: Readonly<Record<string, unknown>> = { ...item };
  const roleKey = 'role' in fields ? 'role' : 'from';
  const contentKey = 'content' in fields ? 'content' : 'value';
  const name = fields[roleKey];
  const role = typeof name === 'string' ? (mapping[`role.${name}`] ?? ROLE_NAMES[name]) : undefined;
  if (role === undefined || !isRole(role)) {
    const shown =
      name === undefined ? 'missing' : typeof name === 'string' ? `'${name}'` : JSON.stringify(name);
    throw new UserError(
      'data/wrong-role',
      `${at}: ${where}.${roleKey} is ${shown}; expected user, assistant or system`,
      typeof name === 'string'
        ? `Say which of them it is: on the page of the data set, or with --mapping role.${name}=assistant.`
        : 'Give every message a role.',
    );
  }
  return { role, content: readContent(fields[contentKey], `${where}.${contentKey}`, at) };
}

/** Message contents may be a list of parts; only text parts can be trained on. */
function readContent(value: unknown, where: string, at: string): string {
  if (!Array.isArray(value)) return readText(value, where, at) ?? '';
  return value
    .map((part: unknown, index) => {
      if (typeof part === 'object' && part !== null && 'text' in part && typeof part.text === 'string')
        return part.text;
      throw new UserError(
        'data/not-text',
        `${at}: ${where}[${index}] is not a text part; images and tool calls can't be trained on`,
        'Delete the row or keep only its text.',
      );
    })
    .join('');
}
