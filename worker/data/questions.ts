/** Rows as questions with their right answers, to score what a model answers. */
import { UserError } from '#core/contract/errors.ts';
import { inFile, openDataFile, requireMapping, type DataFileSpec } from './examples.ts';
import { toConversation, type ChatMessage, type Mapping } from './mapping.ts';
import { renderPlain } from './processor.ts';
import type { SourceRow } from './sources/source-row.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';

/** A row of a suite. */
export interface Question {
  readonly row: number;
  /** The conversation up to the answer. */
  readonly messages: readonly ChatMessage[];
  /** The right answer, perhaps with the way to it. */
  readonly answer: string;
}

/** A file of questions. */
export interface QuestionFile extends DataFileSpec {
  /** Column of the right answer; absent: `answer` where the mapping is not given and there is one, else the mapped response. */
  readonly answerColumn?: string | undefined;
  /** The rows to read; absent: all. */
  readonly rows?: ReadonlySet<number>;
}

/** Reads the rows of a file, with its hash. @throws UserError naming file and row. */
export async function readQuestions(
  file: QuestionFile,
): Promise<{ readonly questions: readonly Question[]; readonly sha256: string }> {
  const { source, mapping, ...data } = await openDataFile(file);
  try {
    requireMapping({ source, mapping, ...data });
    const column = file.answerColumn ?? (file.mapping === undefined ? 'answer' : undefined);
    const questions: Question[] = [];
    for await (const sourceRow of source.rows()) {
      if (file.rows?.has(sourceRow.row) === false) continue;
      try {
        questions.push(questionOf(sourceRow, mapping, column, file.answerColumn !== undefined));
      } catch (error) {
        throw error instanceof UserError ? inFile(data.name, error) : error;
      }
    }
    return { questions, sha256: await source.sha256() };
  } finally {
    await source.close();
  }
}

function questionOf(
  sourceRow: SourceRow,
  mapping: Mapping,
  column: string | undefined,
  isNamed: boolean,
): Question {
  const { row, value } = sourceRow;
  const at = `row ${row.toLocaleString('en-US')}`;
  const own = column === undefined ? undefined : value[column];
  const isAnswer = typeof own === 'string' || typeof own === 'number' || typeof own === 'bigint';
  if (isNamed && !isAnswer) {
    throw new UserError(
      'data/no-answer',
      `${at}: no answer in the column "${column ?? ''}"`,
      `Columns: ${Object.keys(value).slice(0, 30).join(', ')}.`,
    );
  }
  // Where the right answer has a column of its own, the one of the response may be empty.
  const isOwn = isAnswer && column !== undefined && 'response' in mapping;
  const item = toConversation(sourceRow, isOwn ? { ...mapping, response: column } : mapping);
  const last = item.kind === 'conversation' ? item.messages.at(-1) : undefined;
  if (item.kind === 'text' || last?.role !== 'assistant') {
    throw new UserError(
      'data/no-answer',
      `${at}: ${item.kind === 'text' ? 'a plain text' : 'the last message'} is no answer to a question`,
      'Give rows of a question and an answer, or conversations that end with the assistant.',
    );
  }
  return { row, messages: item.messages.slice(0, -1), answer: isAnswer ? String(own) : last.content };
}

/** The ids of a conversation that ends before an answer, as training would have shown it. */
export function promptIds(
  messages: readonly ChatMessage[],
  { tokenizer, template }: { readonly tokenizer: Tokenizer; readonly template: 'auto' | 'none' },
): readonly number[] {
  const chat = template === 'auto' && tokenizer.hasChatTemplate;
  const text = chat
    ? tokenizer.renderChat(messages, { addGenerationPrompt: true })
    : renderPlain(messages, tokenizer.eosToken).text;
  // A chat template writes the start token itself.
  return tokenizer.encode(text, { addSpecialTokens: !chat }).ids;
}
