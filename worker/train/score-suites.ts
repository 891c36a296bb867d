/** Suites of questions put to a model, and how many answers are right. */
import type { AskOptions, AskProgress, SuiteScore } from '#core/contract/suite-score.ts';
import {
  answerRule,
  EXTRACTOR_VERSION,
  markAnswer,
  statedAnswer,
  suiteScore,
  type Marked,
} from '#core/report/index.ts';
import { writeScores } from '#core/store/index.ts';
import { epochOrder, openTokenizer, promptIds } from '#worker/data/index.ts';
import { answerGreedily } from './generate.ts';
import { endIds, modelDirOf, openModel, type ModelSource, type OpenedModel } from './open-model.ts';
import { readSuite, type Suite } from './read-suite.ts';

/** An answer, and what was found in it. */
export interface Answer {
  readonly suite: string;
  readonly row: number;
  readonly answer: string;
  readonly right: string;
  readonly preferred: Marked;
  readonly published: Marked;
  readonly isCut: boolean;
}

/** Told of what goes on. */
interface AskListener {
  /** The suites and the model are read; the first question comes next. */
  readonly begins?: () => void;
  /** Before each batch of questions of `suite`. */
  readonly progress: (suite: string, progress: AskProgress) => void;
  /** The answers to some questions, as soon as they are marked. */
  readonly answered?: (answers: readonly Answer[]) => void;
}

/**
 * Asks the model at `source` every suite, and keeps its score beside a run with every answer: what ends before the last
 * question leaves the score of those that were asked.
 * @param suites files, or `HELD_OUT`; all are read before the first question.
 * @param mapping which column of a file holds what, where that is not recognised.
 * @throws UserError naming file and row of what is no question; everything wrong with the model.
 */
export async function scoreSuites(
  source: ModelSource,
  suites: readonly string[],
  options: AskOptions,
  listener: AskListener,
  mapping?: Readonly<Record<string, string>>,
): Promise<readonly SuiteScore[]> {
  const tokenizer = await openTokenizer(modelDirOf(source));
  const read: Suite[] = [];
  for (const name of suites) {
    const answerColumn = options.answerColumn ?? undefined;
    read.push(await readSuite(name, { source, tokenizer, answerColumn, mapping }));
  }
  const opened = await openModel(source, tokenizer);
  try {
    listener.begins?.();
    const scores: SuiteScore[] = [];
    for (const suite of read) {
      const keep = (score: SuiteScore) => {
        if ('runDir' in source) writeScores(source.runDir, [score]);
      };
      scores.push(await scoreOf(suite, opened, options, listener, keep));
    }
    return scores;
  } finally {
    opened.model.close();
  }
}

async function scoreOf(
  suite: Suite,
  opened: OpenedModel,
  options: AskOptions,
  { progress, answered }: AskListener,
  keep: (score: SuiteScore) => void,
): Promise<SuiteScore> {
  const { maxNewTokens, batch, seed } = options;
  const template = options.template === 'trained' ? opened.template : options.template;
  const { model, tokenizer } = opened;
  const right = suite.questions.map(({ answer }) => statedAnswer(answer));
  const rule = answerRule(right, options.kind === 'auto' ? undefined : options.kind);
  const { length } = suite.questions;
  const drawn = [...epochOrder(length, seed, 0)].slice(0, options.samples ?? length);
  const answers: Answer[] = [];
  const score = (): SuiteScore => ({
    suite: suite.name,
    sha256: [...suite.sha256],
    seed,
    kind: rule.kind,
    ...suiteScore(answers),
    ...(answers.length < drawn.length && { of: drawn.length }),
    cut: answers.filter(({ isCut }) => isCut).length,
    extractorVersion: EXTRACTOR_VERSION,
    template,
    maxNewTokens,
    ...(opened.step !== undefined && { step: opened.step }),
    createdMs: Date.now(),
  });
  for (let at = 0; at < drawn.length; at += batch) {
    const asked = drawn.slice(at, at + batch).map((index) => ({
      question: suite.questions[index] as Suite['questions'][number],
      right: right[index] as string,
    }));
    const correct = answers.filter(({ preferred }) => preferred.isRight).length;
    progress(suite.name, { asked: at, of: drawn.length, correct });
    const prompts = asked.map(({ question }) =>
      Int32Array.from(promptIds(question.messages, { tokenizer, template })),
    );
    const made = await answerGreedily(model.executor, prompts, maxNewTokens, endIds(opened));
    const marked = asked.map(({ question, right: expected }, row): Answer => {
      const { ids, isCut } = made[row] ?? { ids: [], isCut: false };
      const answer = tokenizer.decode(ids, { skipSpecialTokens: true });
      return {
        suite: suite.name,
        row: question.row,
        answer,
        right: expected,
        preferred: markAnswer(answer, expected, rule, 'preferred'),
        published: markAnswer(answer, expected, rule, 'published'),
        isCut,
      };
    });
    answers.push(...marked);
    answered?.(marked);
    keep(score());
    // Lets signals in.
    await new Promise(setImmediate);
  }
  return score();
}
