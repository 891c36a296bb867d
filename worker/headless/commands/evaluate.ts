/** `evaluate RUN|MODEL`: how many questions of a suite a model answers right. */
import { appendFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { UserError } from '#core/contract/errors.ts';
import { AnswerKind, AskOptions, HELD_OUT, type SuiteScore } from '#core/contract/suite-score.ts';
import { EXTRACTOR_VERSION } from '#core/report/index.ts';
import { runFiles } from '#core/store/index.ts';
import { writeError } from '#worker/checkpoint/index.ts';
import { scoreSuites, type Answer } from '#worker/train/index.ts';
import type { Command, Invocation } from './command.ts';
import { sourceNamed } from './open-model.ts';
import { readMapping } from './read-samples.ts';
import { table } from './terminal.ts';
import path from 'node:path';

/** Asks, marks, prints, and keeps the scores beside a run. */
export const evaluate: Command = async (invocation) => {
  const names = suiteNames(invocation);
  const mapping = readMapping(invocation.texts('mapping'));
  const options = askOptions(invocation);
  const source = sourceNamed(invocation.args[0] ?? '', invocation.home);
  const out = invocation.text('out');
  let keep: ReturnType<typeof answersFile> | undefined;
  const scores = await scoreSuites(
    source,
    names,
    options,
    {
      // A file that cannot be written is told before hours of answers.
      begins: () => {
        if (out !== undefined) keep = answersFile(out);
      },
      progress: (suite, { asked, of, correct }) =>
        invocation.terminal.progress(`${suite}, ${asked} of ${of} asked, ${correct} right`),
      answered: (answers) => keep?.(answers),
    },
    mapping,
  );
  const saved = [
    ...('runDir' in source ? [runFiles(source.runDir).scores] : []),
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
};

/** The suites that option `suite` names, none of which is read yet. @throws UserError `cli/missing-option`, `suite/not-found`. */
function suiteNames(invocation: Invocation): readonly string[] {
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

function askOptions(invocation: Invocation): AskOptions {
  return AskOptions.parse({
    maxNewTokens: invocation.integer('max-new-tokens'),
    samples: invocation.integer('samples'),
    seed: invocation.integer('seed', 0),
    answerColumn: invocation.text('answer'),
    kind: invocation.choice('kind', AnswerKind.options),
    template: invocation.choice('template', ['auto', 'none']),
    batch: invocation.integer('batch'),
  });
}

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
