/** What a model scores on suites of questions whose answers are known, as it is kept beside a run and shown in reports. */
import { z } from 'zod';
import { ErrorInfoSchema } from './result.ts';
import { Share } from './share.ts';

const Count = z.int().min(0);

/** In place of a file: the rows that a run held out. */
export const HELD_OUT = 'validation';

/** What the answers of a suite are: it decides how they are found and compared. */
export const AnswerKind = z.enum(['number', 'letter', 'label', 'expression', 'text']);
export type AnswerKind = z.infer<typeof AnswerKind>;

/** How a suite is asked. */
export const AskOptions = z.strictObject({
  maxNewTokens: z.int().positive().default(256).meta({
    title: 'Longest answer',
    unit: 'tokens',
    description: 'Answers are cut off there; how many were is part of the score.',
  }),
  samples: z.int().positive().nullable().default(null).meta({
    title: 'Questions at most',
    description: 'So many are drawn by the seed. null: all are asked.',
  }),
  seed: z.int().min(0).default(0).meta({
    title: 'Seed of the draw',
    description: 'The same questions for the same seed.',
    advanced: true,
  }),
  answerColumn: z.string().nullable().default(null).meta({
    title: 'Column of the right answer',
    description: 'null: “answer” where there is one, else the response.',
    advanced: true,
  }),
  kind: z
    .enum(['auto', ...AnswerKind.options])
    .default('auto')
    .meta({
      title: 'Kind of answers',
      description: 'auto: what the right ones look like.',
      advanced: true,
    }),
  template: z.enum(['trained', 'auto', 'none']).default('trained').meta({
    title: 'Chat template',
    description:
      'trained: as in the run; auto: that of the checkpoint; none: question and answer joined by a line break.',
    advanced: true,
  }),
  batch: z.int().positive().default(8).meta({
    title: 'Questions at once',
    description: 'More are faster and take more memory; answers are the same.',
    advanced: true,
  }),
});
export type AskOptions = z.infer<typeof AskOptions>;

/** The score on one suite. */
export const SuiteScore = z.object({
  /** Name of the file, or `validation`. */
  suite: z.string(),
  /** Of the files the questions come from. */
  sha256: z.array(z.string()),
  /** Questions asked; they are drawn by `seed` where the suite has more. */
  n: Count,
  /** Questions that were to be asked, where that ended before the last of them: those asked are the first of the draw. */
  of: Count.optional(),
  seed: z.int(),
  kind: AnswerKind,
  correct: Count,
  accuracy: Share,
  /** Answers in which nothing was found. */
  unanswered: Count,
  /** The same by the rule of published evaluators. */
  published: z.object({ correct: Count, accuracy: Share }),
  /** Answers that the limit of tokens cut off. */
  cut: Count,
  extractorVersion: z.int(),
  /** `auto`: the chat template of the checkpoint; answers are greedy. */
  template: z.enum(['auto', 'none']),
  maxNewTokens: z.int(),
  /** Checkpoint of the run that was asked; absent for a model folder. */
  step: z.int().optional(),
  createdMs: z.number(),
});
export type SuiteScore = z.infer<typeof SuiteScore>;

/** Names a suite by its name and its questions: files of one name may hold others. */
export function suiteKey({ suite, sha256 }: Pick<SuiteScore, 'suite' | 'sha256'>): string {
  return [suite, ...sha256].join(' ');
}

/** All scores of a run, one for each suite. */
export const RunScores = z.object({ version: z.literal(1), suites: z.array(SuiteScore) });
export type RunScores = z.infer<typeof RunScores>;

/** How far the questions of a suite are. */
export const AskProgress = z.object({ asked: Count, of: Count, correct: Count });
export type AskProgress = z.infer<typeof AskProgress>;

/** A suite that a run is asked, in a process of its own. */
export const AskRequest = z.object({
  runDir: z.string(),
  /** Path of a file, or `HELD_OUT`. */
  suite: z.string(),
  /** Which column of the file holds what, where that was said. */
  mapping: z.record(z.string(), z.string()).optional(),
  options: AskOptions,
});
export type AskRequest = z.infer<typeof AskRequest>;

/** The scores of a run, and what becomes of the suite that it was asked last. */
export const ScoreState = z.object({
  scores: z.array(SuiteScore),
  /** Absent while nothing is asked; without `progress` while suite and model are read. */
  active: z.object({ suite: z.string(), progress: AskProgress.optional() }).optional(),
  /** Why the last suite was not scored. */
  failure: z.object({ suite: z.string(), error: ErrorInfoSchema }).optional(),
});
export type ScoreState = z.infer<typeof ScoreState>;
