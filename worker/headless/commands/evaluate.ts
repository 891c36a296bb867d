/** `evaluate RUN|MODEL`: how many questions of a suite a model answers right. */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import type { SuiteScore } from '#core/contract/suite-score.ts';
import {
  answerRule,
  EXTRACTOR_VERSION,
  markAnswer,
  statedAnswer,
  suiteScore,
  type Marked,
} from '#core/report/index.ts';
import { runFiles, writeScores } from '#core/store/index.ts';
import { writeError } from '#worker/checkpoint/index.ts';
import { epochOrder, promptIds } from '#worker/data/index.ts';
import { answerGreedily } from '#worker/train/index.ts';
import type { Command, Invocation } from './command.ts';
import { endIds, openModel, type OpenedModel } from './open-model.ts';
import { readSuite, suiteNames, type Suite } from './read-suite.ts';
import { table } from './terminal.ts';

/** An answer as `--out` keeps it. */
interface Answer {
  readonly suite: string;
  readonly row: number;
  readonly answer: string;
  readonly right: string;
  readonly preferred: Marked;
  readonly published: Marked;
  readonly isCut: boolean;
}

/** Asks, marks, prints, and keeps the scores beside a run. */
export const evaluate: Command = async (invocation) => {
  const names = suiteNames(invocation);
  const opened = await openModel(invocation.args[0] ?? '', invocation.home);
  try {
    const out = invocation.text('out');
    // A file that cannot be written is told before hours of answers.
    const keep = out === undefined ? () => undefined : answersFile(out);
    const scores: SuiteScore[] = [];
    for (const name of names)
      scores.push(await score(await readSuite(name, opened, invocation), opened, invocation, keep));
    if (opened.runDir !== undefined) writeScores(opened.runDir, scores);
    const saved = [
      ...(opened.runDir === undefined ? [] : [runFiles(opened.runDir).scores]),
      ...(out === undefined ? [] : [path.resolve(out)]),
    ];
    const mean = scores.reduce((sum, { accuracy }) => sum + accuracy.share, 0) / scores.length;
    return {
      document: { suites: scores, meanAccuracy: mean, ...(saved.length > 0 && { files: saved }) },
      text: [
        scoreTable(scores),
        ...(scores.length > 1 ? [`mean over suites ${percent(mean)}`] : []),
        `Answers are greedy; intervals are 95 % (Wilson); answers found by extractor ${EXTRACTOR_VERSION}.`,
        ...saved.map((file) => `saved as ${file}`),
      ].join('\n'),
    };
  } finally {
    opened.model.close();
  }
};

/** Starts the file `out` and returns what adds answers to it. @throws UserError where it cannot be written, now or later. */
function answersFile(out: string): (answers: readonly Answer[]) => void {
  const writing = (write: () => void) => {
    try {
      write();
    } catch (error) {
      throw writeError(error, 'evaluate', out);
    }
  };
  writing(() => {
    mkdirSync(path.dirname(out), { recursive: true });
    writeFileSync(out, '');
  });
  return (answers) =>
    writing(() => appendFileSync(out, answers.map((answer) => `${JSON.stringify(answer)}\n`).join('')));
}

/** @param keep called with the answers to some questions as soon as they are marked. */
async function score(
  suite: Suite,
  opened: OpenedModel,
  invocation: Invocation,
  keep: (answers: readonly Answer[]) => void,
): Promise<SuiteScore> {
  const maxNewTokens = invocation.integer('max-new-tokens') ?? 256;
  const batch = invocation.integer('batch') ?? 8;
  const seed = invocation.integer('seed', 0) ?? 0;
  const template = invocation.choice('template', ['auto', 'none']) ?? opened.template;
  const { model, tokenizer } = opened;
  const right = suite.questions.map(({ answer }) => statedAnswer(answer));
  const rule = answerRule(
    right,
    invocation.choice('kind', ['number', 'letter', 'label', 'expression', 'text']),
  );
  const limit = invocation.integer('samples') ?? suite.questions.length;
  const drawn = [...epochOrder(suite.questions.length, seed, 0)].slice(0, limit);
  if (drawn.length === 0) {
    throw new UserError('suite/empty', `${suite.name} has no question`, 'Give a file with rows.');
  }
  const answers: Answer[] = [];
  for (let at = 0; at < drawn.length; at += batch) {
    const asked = drawn.slice(at, at + batch).map((index) => ({
      question: suite.questions[index] as Suite['questions'][number],
      right: right[index] as string,
    }));
    const done = answers.filter(({ preferred }) => preferred.isRight).length;
    invocation.terminal.progress(`${suite.name}, ${at} of ${drawn.length} asked, ${done} right`);
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
    keep(marked);
    // Lets signals in.
    await new Promise(setImmediate);
  }
  return {
    suite: suite.name,
    sha256: [...suite.sha256],
    seed,
    kind: rule.kind,
    ...suiteScore(answers),
    cut: answers.filter(({ isCut }) => isCut).length,
    extractorVersion: EXTRACTOR_VERSION,
    template,
    maxNewTokens,
    ...(opened.step !== undefined && { step: opened.step }),
    createdMs: Date.now(),
  };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function scoreTable(scores: readonly SuiteScore[]): string {
  return table(
    [
      ['suite', 'kind', 'questions', 'right', 'accuracy', '95 %', 'published rule', 'none found', 'cut'],
      ...scores.map(({ suite, kind, n, correct, accuracy, published, unanswered, cut }) => [
        suite,
        kind,
        String(n),
        String(correct),
        percent(accuracy.share),
        `${percent(accuracy.low)} to ${percent(accuracy.high)}`,
        percent(published.accuracy.share),
        String(unanswered),
        String(cut),
      ]),
    ],
    new Set([2, 3, 4, 5, 6, 7, 8]),
  );
}
