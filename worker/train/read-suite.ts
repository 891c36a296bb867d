/** Suites of questions: files, or the rows that a run held out. */
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { HELD_OUT } from '#core/contract/suite-score.ts';
import { withTemporaryFolder } from '#core/process/temporary-folder.ts';
import { readRunSpec } from '#core/store/index.ts';
import { prepareData, readQuestions, type Question, type Tokenizer } from '#worker/data/index.ts';
import type { ModelSource } from './open-model.ts';

/** Questions with their right answers. */
export interface Suite {
  readonly name: string;
  readonly questions: readonly Question[];
  /** Of the files they come from. */
  readonly sha256: readonly string[];
}

/** How to read a suite. */
interface SuiteReading {
  readonly source: ModelSource;
  readonly tokenizer: Tokenizer;
  /** Column of the right answer, where it is named. */
  readonly answerColumn: string | undefined;
  /** Which column of a file holds what, where that is not recognised. */
  readonly mapping: Readonly<Record<string, string>> | undefined;
}

/**
 * Reads the suite called `name`: a file, or `HELD_OUT`.
 * @throws UserError `suite/empty`, `suite/no-validation`, and those of the data files.
 */
export async function readSuite(name: string, reading: SuiteReading): Promise<Suite> {
  const suite = await (name === HELD_OUT ? readHeldOut(reading) : readFile(name, reading));
  if (suite.questions.length > 0) return suite;
  throw new UserError('suite/empty', `${suite.name} has no question`, 'Give a file with rows.');
}

async function readFile(name: string, { answerColumn, mapping }: SuiteReading): Promise<Suite> {
  const { questions, sha256 } = await readQuestions({ path: path.resolve(name), mapping, answerColumn });
  return { name: path.basename(name), questions, sha256: [sha256] };
}

async function readHeldOut({ source, tokenizer, answerColumn }: SuiteReading): Promise<Suite> {
  if (!('runDir' in source)) {
    throw new UserError(
      'suite/no-validation',
      'a model folder has no validation rows',
      'Name a run, or a file of questions.',
    );
  }
  const { data, train } = readRunSpec(source.runDir);
  return withTemporaryFolder('suite', async (cacheDir) => {
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
  });
}
