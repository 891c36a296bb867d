/** What a column can mean, and the names of record formats. */
import { type DatasetEntry, ROLE_NAMES } from '#core/contract/dataset.ts';

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

/** Before the name of a role in a mapping; the rest of its keys are fields. */
const ROLE = 'role.';

/** The field that `column` is mapped to, or `none`. */
export function fieldOf(mapping: Mapping, column: string): string {
  const entry = Object.entries(mapping).find(([key, mapped]) => mapped === column && !key.startsWith(ROLE));
  return entry?.[0] ?? 'none';
}

/** `mapping` with `column` moved to `field`; a field has one column and a column one field. */
export function mapColumn(mapping: Mapping, column: string, field: string): Record<string, string> {
  const rest = Object.entries(mapping).filter(
    ([key, mapped]) => key.startsWith(ROLE) || (key !== field && mapped !== column),
  );
  return Object.fromEntries(field === 'none' ? rest : [...rest, [field, column]]);
}

/** `mapping` with the role called `name` read as `role`. */
export function mapRole(mapping: Mapping, name: string, role: string): Record<string, string> {
  return { ...mapping, [`${ROLE}${name}`]: role };
}

/** The role that `name` is read as, if it is known. */
export function roleOf(mapping: Mapping, name: string): string | undefined {
  return mapping[`${ROLE}${name}`] ?? ROLE_NAMES[name];
}

/** Names of roles in `conversations` (JSON texts of lists of messages) that are mapped by hand or have to be. */
export function rolesToMap(mapping: Mapping, conversations: readonly string[]): readonly string[] {
  const named = Object.keys(mapping).filter((key) => key.startsWith(ROLE));
  const found = conversations.flatMap(rolesIn).filter((name) => ROLE_NAMES[name] === undefined);
  return [...new Set([...named.map((key) => key.slice(ROLE.length)), ...found])];
}

function rolesIn(conversation: string): readonly string[] {
  const messages: unknown = JSON.parse(conversation);
  if (!Array.isArray(messages)) return [];
  return messages.flatMap((message: unknown) => {
    if (typeof message !== 'object' || message === null) return [];
    const name = 'role' in message ? message.role : 'from' in message ? message.from : undefined;
    return typeof name === 'string' ? [name] : [];
  });
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
