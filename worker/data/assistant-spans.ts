/** Finds where a chat template put the assistant's answers. */
import { UserError } from '#core/contract/errors.ts';
import type { ChatMessage } from './mapping.ts';

/** UTF-16 positions in the rendered text, end exclusive. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

type Render = (messages: readonly ChatMessage[]) => string;

/** Places in an answer where the marks can stand; the first that leaves the rendering unchanged is right. */
interface Marking {
  readonly open: number;
  readonly close: number;
}

/**
 * The span of every answer in `rendered`, in order.
 *
 * The conversation is rendered again with a mark at either end of each answer. Where the text without the marks equals `rendered`,
 * the marks show the spans exactly, even when an answer repeats a question. A template that trims an answer, or drops the
 * thoughts before it, moves the marks inwards: these places are tried in turn.
 * @throws UserError `template/answer-not-found` when the template rewrites an answer in another way.
 */
export function findAssistantSpans(
  messages: readonly ChatMessage[],
  rendered: string,
  render: Render,
): Span[] {
  const [open, close] = unusedMarks(rendered);
  const answers = messages.flatMap(({ role }, index) => (role === 'assistant' ? [index] : []));
  const contentOf = (index: number) => messages[index]?.content ?? '';

  const tryMarkings = (chosen: ReadonlyMap<number, Marking>): Span[] | undefined => {
    const marked = messages.map((message, index) => {
      const marking = chosen.get(index);
      if (marking === undefined) return message;
      const { content } = message;
      const inner = open + content.slice(marking.open, marking.close) + close;
      return { ...message, content: content.slice(0, marking.open) + inner + content.slice(marking.close) };
    });
    const spans = readMarks(render(marked), rendered, open, close);
    return spans?.length === chosen.size ? spans : undefined;
  };

  // Nearly always the template treats all answers alike, and one rendering finds them all.
  for (const edges of [outer, inner]) {
    const spans = tryMarkings(new Map(answers.map((index) => [index, edges(contentOf(index))])));
    if (spans !== undefined) return spans;
  }
  return answers.map((index) => {
    const content = contentOf(index);
    for (const marking of markings(content)) {
      const span = tryMarkings(new Map([[index, marking]]))?.[0];
      if (span === undefined) continue;
      // Marks inside an opening tag: the tag before them is part of the answer where the template kept it.
      const before = content.slice(0, marking.open);
      const kept = before.trim() !== '' && rendered.slice(0, span.start).endsWith(before);
      return kept ? { start: span.start - before.length, end: span.end } : span;
    }
    throw new UserError(
      'template/answer-not-found',
      `messages[${index}]: the chat template rewrites this answer, so its tokens can't be told from the prompt`,
      'Train on all tokens (lossOn "all"), or use the template "none".',
    );
  });
}

const outer = (content: string): Marking => ({ open: 0, close: content.length });
const inner = (content: string): Marking => ({
  open: content.length - content.trimStart().length,
  close: content.trimEnd().length,
});

function markings(content: string): Marking[] {
  const trimmed = inner(content);
  const opens = [0, trimmed.open];
  const skipSpace = (at: number) => at + content.slice(at).length - content.slice(at).trimStart().length;
  const thought = content.indexOf('<think>');
  if (thought >= 0) opens.push(skipSpace(thought + '<think>'.length));
  const afterThought = content.lastIndexOf('</think>');
  if (afterThought >= 0) opens.push(skipSpace(afterThought + '</think>'.length));
  return opens.flatMap((open) =>
    [content.length, trimmed.close].filter((close) => close >= open).map((close) => ({ open, close })),
  );
}

/** Two noncharacters that don't occur in the text: templates neither trim nor change them. */
function unusedMarks(text: string): [string, string] {
  const free: string[] = [];
  for (let code = 0xfdd0; code <= 0xfdef && free.length < 2; code++) {
    const mark = String.fromCharCode(code);
    if (!text.includes(mark)) free.push(mark);
  }
  const [open, close] = free;
  if (open !== undefined && close !== undefined) return [open, close];
  throw new UserError(
    'data/noncharacters',
    'the conversation holds every one of the Unicode noncharacters U+FDD0 to U+FDEF',
    'Remove them: they have no meaning in text.',
  );
}

/** Positions of the marks in the text without them; undefined when that text is not `expected` or the marks don't pair up. */
function readMarks(marked: string, expected: string, open: string, close: string): Span[] | undefined {
  const spans: Span[] = [];
  let plain = '';
  let start = -1;
  let from = 0;
  for (let at = 0; at < marked.length; at++) {
    const unit = marked[at];
    if (unit !== open && unit !== close) continue;
    plain += marked.slice(from, at);
    from = at + 1;
    if ((unit === open) !== start < 0) return undefined;
    if (unit === open) start = plain.length;
    else {
      spans.push({ start, end: plain.length });
      start = -1;
    }
  }
  plain += marked.slice(from);
  return start < 0 && plain === expected ? spans : undefined;
}
