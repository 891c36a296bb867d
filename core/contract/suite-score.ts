/** What a model scores on suites of questions whose answers are known, as it is kept beside a run and shown in reports. */
import { z } from 'zod';
import { Share } from './share.ts';

const Count = z.int().min(0);

/** The score on one suite. */
export const SuiteScore = z.object({
  /** Name of the file, or `validation`. */
  suite: z.string(),
  /** Of the files the questions come from. */
  sha256: z.array(z.string()),
  /** Questions asked; they are drawn by `seed` where the suite has more. */
  n: Count,
  seed: z.int(),
  kind: z.enum(['number', 'letter', 'label', 'expression', 'text']),
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
