/** `evaluate RUN|MODEL`: how many questions of a suite a model answers right. */
import { writeFileSync } from 'node:fs';
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
    const scores: SuiteScore[] = [];
    const answers: Answer[] = [];
    for (const name of names) {
      const suite = await readSuite(name, opened, invocation);
      const scored = await score(suite, opened, invocation);
      scores.push(scored.score);
      answers.push(...scored.answers);
    }
    const saved = save(scores, answers, opened, invocation);
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

async function score(
  suite: Suite,
  opened: OpenedModel,
  invocation: Invocation,
): Promise<{ readonly score: SuiteScore; readonly answers: readonly Answer[] }> {
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
    asked.forEach(({ question, right: expected }, row) => {
      const { ids, isCut } = made[row] ?? { ids: [], isCut: false };
      const answer = tokenizer.decode(ids, { skipSpecialTokens: true });
      answers.push({
        suite: suite.name,
        row: question.row,
        answer,
        right: expected,
        preferred: markAnswer(answer, expected, rule, 'preferred'),
        published: markAnswer(answer, expected, rule, 'published'),
        isCut,
      });
    });
    // Lets signals in.
    await new Promise(setImmediate);
  }
  return {
    answers,
    score: {
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
    },
  };
}

/** Scores beside a run, where reports find them; answers where the user asks for them. */
function save(
  scores: readonly SuiteScore[],
  answers: readonly Answer[],
  { runDir }: OpenedModel,
  invocation: Invocation,
): string[] {
  const out = invocation.text('out');
  if (runDir !== undefined) writeScores(runDir, scores);
  if (out !== undefined) writeFileSync(out, answers.map((answer) => `${JSON.stringify(answer)}\n`).join(''));
  return [
    ...(runDir === undefined ? [] : [runFiles(runDir).scores]),
    ...(out === undefined ? [] : [path.resolve(out)]),
  ];
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
