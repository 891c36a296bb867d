/** Files of prompts, for commands that look at what models do with questions. */
import path from 'node:path';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { UserError } from '#core/contract/errors.ts';
import { openSource, spanTokens, type Tokenizer } from '#worker/data/index.ts';
import type { Prompt } from '#worker/train/index.ts';

/** Columns that a question is looked for in, in this order. */
const QUESTION_COLUMNS = ['question', 'prompt', 'instruction', 'goal', 'text'] as const;

/** How prompts are read. */
export interface PromptOptions {
  readonly tokenizer: Tokenizer;
  readonly template: 'auto' | 'none';
  /** Column of the question; undefined: the first known one. */
  readonly column: string | undefined;
  /** First tokens of a question that are left out: they hardly depend on it. */
  readonly skip: number;
  readonly maxLength: number;
}

/**
 * Reads the questions of a file as the model would be asked them.
 * @throws UserError `prompts/no-question` or `prompts/none`, and those of the data file.
 */
export async function readPrompts(
  file: string,
  options: PromptOptions,
): Promise<{ readonly prompts: readonly Prompt[]; readonly sha256: string }> {
  const absolute = path.resolve(file);
  const source = await openSource(absolute);
  const prompts: Prompt[] = [];
  try {
    for await (const { row, value } of source.rows()) {
      const column = options.column ?? QUESTION_COLUMNS.find((name) => typeof value[name] === 'string') ?? '';
      const question = value[column];
      if (typeof question !== 'string' || question.trim() === '') {
        throw new UserError(
          'prompts/no-question',
          `${file}, row ${row}: no question in ${column === '' ? QUESTION_COLUMNS.join(', ') : column}`,
          'Name the column with --column.',
        );
      }
      const prompt = promptOf(question.trim(), options);
      if (prompt !== null) prompts.push(prompt);
    }
  } finally {
    await source.close();
  }
  if (prompts.length === 0) {
    throw new UserError(
      'prompts/none',
      `${file}: no question has more than the ${options.skip} tokens that are left out`,
      'Give longer questions, or a smaller --skip.',
    );
  }
  return { prompts, sha256: createHash('sha256').update(readFileSync(absolute)).digest('hex') };
}

/** Null where nothing of the question is left to look at. */
function promptOf(question: string, { tokenizer, template, skip, maxLength }: PromptOptions): Prompt | null {
  const chat = template === 'auto' && tokenizer.hasChatTemplate;
  const text = chat
    ? tokenizer.renderChat([{ role: 'user', content: question }], { addGenerationPrompt: true })
    : question;
  const start = text.indexOf(question);
  const { ids, offsets } = tokenizer.encode(text, { addSpecialTokens: !chat });
  const spans = start < 0 ? [] : [{ start, end: start + question.length }];
  const { answer } = spanTokens(spans, offsets, () => false);
  const first = answer.indexOf(1);
  const marked = answer.map((mark, at) => (at < first + skip ? 0 : mark)).slice(0, maxLength);
  if (first < 0 || !marked.includes(1)) return null;
  return { ids: Int32Array.from(ids).slice(0, maxLength), question: marked };
}
