/**
 * Finds the answer in what a model wrote, by two rules. `published` is that of the evaluators behind published tables: deletes
 * commas and takes the last number, or the first letter from A to E anywhere, that of “Answer” included. `preferred` reads as a
 * person would. Both are reported, since the rule alone moves scores by several points.
 */

/** A rule by which answers are found. */
export type ExtractionRule = 'published' | 'preferred';

/** Raised whenever an answer would be found or compared differently. */
export const EXTRACTOR_VERSION = 1;

/** Where a model goes on to ask itself the next question. */
const FOLLOW_UP = /\n\s*(?:question|q|problem)\s*:/i;
/** A sign counts unless something is subtracted; more than one point, or slash, is no number. */
const NUMBER =
  /(?:(?<![\w)\]}.])[-+])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?<!\d)\.\d+)(?:\.\d+)*(?:e[-+]?\d+)?(?:\/\d+)*/gi;
const FRACTION = /\\[dt]?frac\{(-?\d+)\}\{(\d+)\}/g;

/** The content of the last `\boxed{…}` whose braces balance; null without one. */
function lastBoxed(text: string): string | null {
  for (let at = text.lastIndexOf('\\boxed{'); at >= 0; at = text.lastIndexOf('\\boxed{', at - 1)) {
    let depth = 0;
    const start = at + '\\boxed'.length;
    for (let end = start; end < text.length; end++) {
      if (text[end] === '{') depth++;
      if (text[end] === '}' && --depth === 0) return text.slice(start + 1, end);
    }
    if (at === 0) break;
  }
  return null;
}

/** What the model wrote before it asked itself another question; the box in it, if there is one. */
function ownAnswer(text: string): string {
  const own = text.split(FOLLOW_UP, 1)[0] ?? '';
  return lastBoxed(own) ?? own;
}

/** The last number of a text; null where there is none, or the last is malformed (`7.0.1`). */
export function extractNumber(text: string, rule: ExtractionRule): number | null {
  if (rule === 'published') {
    const last = text
      .replaceAll(',', '')
      .match(/-?\d+\.?\d*/g)
      ?.at(-1);
    return last === undefined ? null : Number(last);
  }
  const last = ownAnswer(text).replaceAll(FRACTION, '$1/$2').match(NUMBER)?.at(-1);
  if (last === undefined) return null;
  const [top, bottom = '1', ...more] = last.replaceAll(',', '').split('/');
  const value = Number(top) / Number(bottom);
  return more.length > 0 || !Number.isFinite(value) ? null : value;
}

/**
 * The one of `labels` that a text answers. Published: the first anywhere. Preferred: after the last “answer is”, else the last that
 * stands by itself. Letters are told by their case, words are not.
 */
export function extractLabel(text: string, labels: readonly string[], rule: ExtractionRule): string | null {
  const isWord = labels.some((label) => label.length > 1);
  const read = isWord ? text.toLowerCase() : text;
  const any = labels.map(escaped).join('|');
  if (rule === 'published') return new RegExp(any).exec(read)?.[0] ?? null;
  const own = ownAnswer(read);
  const standing = `(?<![\\w])(${any})(?![\\w])`;
  const stated = [...own.matchAll(new RegExp(`[Aa]nswer is:?\\s*[("*]*${standing}`, 'g'))].at(-1);
  return (stated ?? [...own.matchAll(new RegExp(standing, 'g'))].at(-1))?.[1] ?? null;
}

/** The last box of a text, or all of it where the rule is preferred and there is none, as {@link normalExpression}. */
export function extractExpression(text: string, rule: ExtractionRule): string | null {
  const found = rule === 'published' ? lastBoxed(text) : ownAnswer(text);
  return found === null ? null : normalExpression(found);
}

/** A formula without what only changes its looks. */
export function normalExpression(formula: string): string {
  return formula
    .replaceAll(/\\text\{([^}]*)\}/g, '$1')
    .replaceAll(/\\(?:left|right|[,;!])|[\s$]/g, '')
    .replaceAll(/\\[dt]frac/g, '\\frac')
    .replace(/\.$/, '');
}

/**
 * The answer to compare with, from the text of a row that holds the right answer and perhaps the way to it: the last box, or
 * what follows the last `####` (GSM8K) or line `Answer:`, or all of it.
 */
export function statedAnswer(text: string): string {
  const marked = text.split(/####|^\s*answer:/im).at(-1) ?? text;
  return (lastBoxed(text) ?? marked).trim();
}

function escaped(label: string): string {
  return label.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
