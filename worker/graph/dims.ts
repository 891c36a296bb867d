import { invariant } from '#core/contract/errors.ts';
import type { Dim } from './types.ts';

/**
 * Arithmetic on symbolic sizes. Every result is in canonical form (number first, names sorted), so that equal sizes are
 * equal strings.
 */

interface Monomial {
  readonly factor: number;
  readonly names: readonly string[];
}

/** The product of some sizes, e.g. `B`, `4`, `S` gives `'4*B*S'`; the empty product is 1. */
export function productOf(dims: readonly Dim[]): Dim {
  let factor = 1;
  const names: string[] = [];
  for (const dim of dims) {
    const part = parse(dim);
    factor *= part.factor;
    names.push(...part.names);
  }
  return format({ factor, names });
}

/** The exact quotient of two sizes, or `undefined` when it is not a whole number for every value of the names. */
export function quotientOf(dividend: Dim, divisor: Dim): Dim | undefined {
  const over = parse(dividend);
  const under = parse(divisor);
  if (under.factor === 0 || over.factor % under.factor !== 0) return undefined;
  const names = [...over.names];
  for (const name of under.names) {
    const at = names.indexOf(name);
    if (at < 0) return undefined;
    names.splice(at, 1);
  }
  return format({ factor: over.factor / under.factor, names });
}

/**
 * Whether two products can be equal: with the common names left out, the numbers are equal and either no names remain
 * or different ones on both sides, whose relation only the run knows.
 */
export function mayBeEqual(a: Dim, b: Dim): boolean {
  const left = parse(a);
  const right = parse(b);
  const others = [...right.names];
  const rest = left.names.filter((name) => {
    const at = others.indexOf(name);
    if (at >= 0) others.splice(at, 1);
    return at < 0;
  });
  return left.factor === right.factor && rest.length > 0 === others.length > 0;
}

/** The sum of some sizes: numbers are added, names are kept as `'(M+N)'`. */
export function sumOf(dims: readonly Dim[]): Dim {
  const terms = dims.flatMap((dim) => (isSum(dim) ? splitTop(dim.slice(1, -1), '+').map(asDim) : [dim]));
  let known = 0;
  const names: string[] = [];
  for (const term of terms) {
    if (typeof term === 'number') known += term;
    else names.push(term);
  }
  if (names.length === 0) return known;
  if (names.length === 1 && known === 0) return names[0] ?? known;
  names.sort();
  return `(${[...names, ...(known === 0 ? [] : [String(known)])].join('+')})`;
}

/** The canonical spelling of a size a person wrote; `undefined` when it is not a size. */
export function canonicalDim(dim: Dim): Dim | undefined {
  if (typeof dim === 'number') return Number.isSafeInteger(dim) && dim >= 0 ? dim : undefined;
  return /^[A-Za-z0-9_.*+()]+$/.test(dim) ? productOf([dim]) : undefined;
}

/** How a size is computed: a number, a plain name, or a product or sum of such. */
export type DimExpression =
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'product' | 'sum'; readonly parts: readonly Dim[] };

/** Takes a size apart by one level. */
export function dimExpression(dim: Dim): DimExpression {
  if (typeof dim === 'number') return { kind: 'number', value: dim };
  const factors = splitTop(dim, '*');
  if (factors.length > 1) return { kind: 'product', parts: factors.map(asDim) };
  if (isSum(dim)) return { kind: 'sum', parts: splitTop(dim.slice(1, -1), '+').map(asDim) };
  return { kind: 'name', name: dim };
}

/** The number a size stands for, given those of its names. @throws InvariantError for an unknown name. */
export function evaluateDim(dim: Dim, sizes: Readonly<Record<string, number>>): number {
  const expression = dimExpression(dim);
  switch (expression.kind) {
    case 'number':
      return expression.value;
    case 'name': {
      const size = sizes[expression.name];
      invariant(size !== undefined, `the size ${expression.name} is not known`);
      return size;
    }
    case 'product':
      return expression.parts.reduce<number>((total, part) => total * evaluateDim(part, sizes), 1);
    case 'sum':
      return expression.parts.reduce<number>((total, part) => total + evaluateDim(part, sizes), 0);
  }
}

/** A size with other sizes in place of names; names that are not among them stay. */
export function substituteDims(dim: Dim, sizes: ReadonlyMap<string, Dim>): Dim {
  const expression = dimExpression(dim);
  switch (expression.kind) {
    case 'number':
      return expression.value;
    case 'name':
      return sizes.get(expression.name) ?? dim;
    case 'product':
      return productOf(expression.parts.map((part) => substituteDims(part, sizes)));
    case 'sum':
      return sumOf(expression.parts.map((part) => substituteDims(part, sizes)));
  }
}

/** Every plain name a size depends on. */
export function namesIn(dim: Dim): readonly string[] {
  const expression = dimExpression(dim);
  switch (expression.kind) {
    case 'number':
      return [];
    case 'name':
      return [expression.name];
    case 'product':
    case 'sum':
      return expression.parts.flatMap(namesIn);
  }
}

function isSum(dim: Dim): dim is string {
  return typeof dim === 'string' && dim.startsWith('(') && splitTop(dim, '*').length === 1;
}

function asDim(text: string): Dim {
  return /^\d+$/.test(text) ? Number(text) : text;
}

function parse(dim: Dim): Monomial {
  if (typeof dim === 'number') return { factor: dim, names: [] };
  let factor = 1;
  const names: string[] = [];
  for (const part of splitTop(dim, '*').map(asDim)) {
    if (typeof part === 'number') factor *= part;
    else names.push(part);
  }
  return { factor, names };
}

function format({ factor, names }: Monomial): Dim {
  if (factor === 0 || names.length === 0) return factor;
  const sorted = [...names].sort();
  return [...(factor === 1 ? [] : [String(factor)]), ...sorted].join('*');
}

/** Splits at `separator` outside brackets. */
function splitTop(text: string, separator: '*' | '+'): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '(') depth++;
    else if (text[i] === ')') depth--;
    else if (text[i] === separator && depth === 0) {
      parts.push(text.slice(from, i));
      from = i + 1;
    }
  }
  parts.push(text.slice(from));
  return parts;
}
