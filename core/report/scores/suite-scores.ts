/** Scores of a suite: how many of its questions a model answers right, and how sure that is. */
import type { AnswerKind, SuiteScore } from '#core/contract/suite-score.ts';
import { shareOf } from '../metrics/confidence.ts';
import {
  extractExpression,
  extractLabel,
  extractNumber,
  normalExpression,
  type ExtractionRule,
} from './answer-extraction.ts';

/** How the answers of a suite are found and compared. */
export interface AnswerRule {
  readonly kind: AnswerKind;
  /** What a `letter` or `label` may be. */
  readonly labels: readonly string[];
}

const LETTERS = ['A', 'B', 'C', 'D', 'E'] as const;
/** More different answers than this are not labels. */
const MOST_LABELS = 12;

/** What the right answers of a suite are, unless `kind` says so. */
export function answerRule(right: readonly string[], kind?: AnswerKind): AnswerRule {
  const found = kind ?? kindOf(right);
  if (found === 'letter') return { kind: found, labels: [...new Set([...LETTERS, ...right])].sort() };
  if (found !== 'label') return { kind: found, labels: [] };
  // Numbered labels come in sets of which a small suite may lack some: answer1 to answer9.
  const stems = new Set(right.map((label) => label.toLowerCase().replace(/\d$/, '#')));
  const labels = [...stems].flatMap((stem) =>
    stem.endsWith('#') ? Array.from({ length: 9 }, (_, n) => stem.replace('#', String(n + 1))) : [stem],
  );
  return { kind: found, labels };
}

function kindOf(right: readonly string[]): AnswerKind {
  const all = (test: (answer: string) => boolean) => right.every(test);
  if (all((answer) => !Number.isNaN(toNumber(answer)))) return 'number';
  if (all((answer) => /^[A-J]$/.test(answer))) return 'letter';
  const different = new Set(right.map((answer) => answer.toLowerCase()));
  if (all((answer) => /^\w+$/.test(answer)) && different.size <= Math.min(MOST_LABELS, right.length / 2))
    return 'label';
  return right.some((answer) => answer.includes('\\')) ? 'expression' : 'text';
}

/** A right answer as a number, without thousands' commas and a currency sign; NaN where it is none. */
function toNumber(answer: string): number {
  const plain = answer.replaceAll(/[,$\s]/g, '');
  return plain === '' ? NaN : Number(plain);
}

/** What was found in one answer, in words, and whether it is right. */
export interface Marked {
  /** Null: no answer was found. */
  readonly found: string | null;
  readonly isRight: boolean;
}

/** Marks one answer. Numbers may be off by 0.001, expressions that are numbers by a ten-thousandth of the right one. */
export function markAnswer(
  text: string,
  right: string,
  { kind, labels }: AnswerRule,
  rule: ExtractionRule,
): Marked {
  if (kind === 'number') {
    const found = extractNumber(text, rule);
    return {
      found: found === null ? null : String(found),
      isRight: found !== null && Math.abs(found - toNumber(right)) <= 1e-3,
    };
  }
  if (kind === 'letter' || kind === 'label') {
    const found = extractLabel(text, labels, rule);
    return { found, isRight: found === (kind === 'label' ? right.toLowerCase() : right) };
  }
  if (kind === 'expression') {
    const found = extractExpression(text, rule);
    const expected = normalExpression(right);
    const [a, b] = [toNumber(found ?? ''), toNumber(expected)];
    return { found, isRight: found === expected || Math.abs(a - b) <= 1e-4 * Math.abs(b) };
  }
  const plain = (answer: string) => answer.trim().replaceAll(/\s+/g, ' ');
  const found = plain(text);
  return { found: found === '' ? null : found, isRight: found === plain(right) };
}

/** The score of marked answers. */
export function suiteScore(
  marks: readonly { readonly preferred: Marked; readonly published: Marked }[],
): Pick<SuiteScore, 'n' | 'correct' | 'accuracy' | 'unanswered' | 'published'> {
  const n = marks.length;
  const right = (rule: ExtractionRule) => marks.filter((mark) => mark[rule].isRight).length;
  const [preferred, published] = [right('preferred'), right('published')];
  return {
    n,
    correct: preferred,
    accuracy: shareOf(preferred, n),
    unanswered: marks.filter((mark) => mark.preferred.found === null).length,
    published: { correct: published, accuracy: shareOf(published, n) },
  };
}
