/** Suites of questions: files, or the rows that a run held out. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { readRunSpec } from '#core/store/index.ts';
import { prepareData, readQuestions, type Question } from '#worker/data/index.ts';
import type { Invocation } from './command.ts';
import type { OpenedModel } from './open-model.ts';
import { readMapping } from './read-samples.ts';

/** Questions with their right answers. */
export interface Suite {
  readonly name: string;
  readonly questions: readonly Question[];
  /** Of the files they come from. */
  readonly sha256: readonly string[];
}

/** The name of the rows a run held out. */
const HELD_OUT = 'validation';

/** The suites that option `suite` names, none of which is read yet. @throws UserError `cli/missing-option`, `suite/not-found`. */
export function suiteNames(invocation: Invocation): readonly string[] {
  const names = invocation.texts('suite');
  if (names.length === 0) invocation.requiredText('suite');
  const missing = names.find((name) => name !== HELD_OUT && !existsSync(name));
  if (missing === undefined) return names;
  throw new UserError(
    'suite/not-found',
    `--suite ${missing} is no file`,
    `Name a file of questions and answers, or ${HELD_OUT} for the rows that a run held out.`,
  );
}

/** Reads the suite called `name`. @throws UserError `suite/no-validation`, and those of the data files. */
export async function readSuite(name: string, model: OpenedModel, invocation: Invocation): Promise<Suite> {
  const answerColumn = invocation.text('answer');
  if (name === HELD_OUT) return readHeldOut(model, answerColumn);
  const mapping = readMapping(invocation.texts('mapping'));
  const { questions, sha256 } = await readQuestions({ path: path.resolve(name), mapping, answerColumn });
  return { name: path.basename(name), questions, sha256: [sha256] };
}

async function readHeldOut(
  { runDir, tokenizer }: OpenedModel,
  answerColumn: string | undefined,
): Promise<Suite> {
  if (runDir === undefined) {
    throw new UserError(
      'suite/no-validation',
      'a model folder has no validation rows',
      'Name a run, or a file of questions.',
    );
  }
  const { data, train } = readRunSpec(runDir);
  const cacheDir = mkdtempSync(path.join(os.tmpdir(), 'condenser-suite-'));
  try {
    const prepared = await prepareData(data, { tokenizer, cacheDir, seed: train.seed });
    try {
      const { validation } = prepared;
      if (validation === null) {
        throw new UserError(
          'suite/no-validation',
          'the run held no rows out',
          'Name a file of questions, or give data.validation a fraction in the next run.',
        );
      }
      const rows = new Map<string, Set<number>>();
      for (let example = 0; example < validation.length; example++) {
        const { path: file, row } = validation.origin(example);
        rows.set(file, (rows.get(file) ?? new Set()).add(row));
      }
      const files = [...data.train, ...('files' in data.validation ? data.validation.files : [])];
      const read = await Promise.all(
        [...rows].map(([file, held]) =>
          readQuestions({
            path: file,
            mapping: files.find((given) => path.resolve(given.path) === file)?.mapping,
            answerColumn,
            rows: held,
          }),
        ),
      );
      return {
        name: HELD_OUT,
        questions: read.flatMap(({ questions }) => questions),
        sha256: read.map(({ sha256 }) => sha256),
      };
    } finally {
      prepared.close();
    }
  } finally {
    rmSync(cacheDir, { recursive: true, force: true });
  }
}
