/** From a JSON Schema of options to the fields of a form, and between a field's text and its value. */
import { z } from 'zod';

/** How a field is filled in. */
export type FieldKind = 'switch' | 'choice' | 'several' | 'number' | 'numbers' | 'text' | 'json';

/** One option as a form shows it. */
export interface Field {
  readonly key: string;
  readonly title: string;
  readonly description?: string;
  readonly unit?: string;
  readonly advanced: boolean;
  readonly kind: FieldKind;
  /** Values of a choice, or those of which several may be given. */
  readonly choices: readonly (string | boolean)[];
  /** Words that may stand in place of a number: "auto". */
  readonly words: readonly string[];
  /** Empty means null. */
  readonly nullable: boolean;
  readonly integer: boolean;
  /** "numbers" may be a single number. */
  readonly single: boolean;
  readonly min?: number;
  readonly max?: number;
  readonly aboveMin: boolean;
  readonly belowMax: boolean;
  /** Undefined where leaving it out has a meaning of its own. */
  readonly defaultValue: unknown;
}

/** The part of JSON Schema that options are written in. */
interface Node {
  readonly type?: string | string[] | undefined;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: unknown[] | undefined;
  readonly items?: Node | boolean | undefined;
  readonly anyOf?: Node[] | undefined;
  readonly minimum?: number | undefined;
  readonly maximum?: number | undefined;
  readonly exclusiveMinimum?: number | undefined;
  readonly exclusiveMaximum?: number | undefined;
  readonly advanced?: boolean | undefined;
  readonly unit?: string | undefined;
  readonly properties?: Record<string, Node> | undefined;
}

const NodeSchema: z.ZodType<Node> = z.lazy(() =>
  z.looseObject({
    type: z.union([z.string(), z.array(z.string())]).optional(),
    title: z.string().optional(),
    description: z.string().optional(),
    default: z.unknown().optional(),
    const: z.unknown().optional(),
    enum: z.array(z.unknown()).optional(),
    items: z.union([NodeSchema, z.boolean()]).optional(),
    anyOf: z.array(NodeSchema).optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    exclusiveMinimum: z.number().optional(),
    exclusiveMaximum: z.number().optional(),
    advanced: z.boolean().optional(),
    unit: z.string().optional(),
    properties: z.record(z.string(), NodeSchema).optional(),
  }),
);

/** What an empty field of an option that may be null shows. */
const NONE = 'none';

const isType = (node: Node, name: string) =>
  Array.isArray(node.type) ? node.type.includes(name) : node.type === name;

/** A description as a form shows the values it names: in a document they are null, true or false. */
function inForm(description: string): string {
  return description.replaceAll('null:', `${NONE}:`).replaceAll('true:', 'on:').replaceAll('false:', 'off:');
}

/** `weightDecay` → "Weight decay", for options without a title. */
function titleOf(key: string): string {
  const words = key.replaceAll(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** What an entry of a list looks like; nothing for what is no list. */
function entriesOf({ items }: Node): readonly Node[] {
  return typeof items === 'object' ? [items] : [];
}

/** The names of which a list holds several; undefined for other lists. */
function namesIn(node: Node): unknown[] | undefined {
  return entriesOf(node)[0]?.enum;
}

function wordsIn(variants: readonly Node[]): readonly string[] {
  return variants.flatMap((variant) => (typeof variant.const === 'string' ? [variant.const] : []));
}

/** Values to choose from; a word beside true and false makes a choice of a switch. */
function choicesOf(node: Node, variants: readonly Node[]): readonly (string | boolean)[] {
  const words = wordsIn(variants);
  if (words.length > 0 && variants.some((variant) => isType(variant, 'boolean')))
    return [true, false, ...words];
  return (node.enum ?? namesIn(node) ?? []).map(String);
}

function kindOf(node: Node, variants: readonly Node[]): FieldKind {
  const has = (name: string) => variants.some((variant) => isType(variant, name));
  if (node.enum !== undefined) return 'choice';
  if (has('object')) return 'json';
  if (has('array')) return namesIn(node) === undefined ? 'numbers' : 'several';
  if (has('number') || has('integer')) return 'number';
  if (has('boolean')) return wordsIn(variants).length > 0 ? 'choice' : 'switch';
  return has('string') ? 'text' : 'json';
}

function fieldOf(key: string, node: Node): Field {
  const variants = node.anyOf ?? [node];
  const nullable = variants.some((variant) => isType(variant, 'null'));
  const isNumber = (variant: Node) => isType(variant, 'number') || isType(variant, 'integer');
  const single = variants.some(isNumber);
  const number = variants.flatMap((variant) => [variant, ...entriesOf(variant)]).find(isNumber);
  const min = number?.exclusiveMinimum ?? number?.minimum;
  const max = number?.exclusiveMaximum ?? number?.maximum;
  return {
    key,
    title: node.title ?? titleOf(key),
    ...(node.description !== undefined && { description: inForm(node.description) }),
    ...(node.unit !== undefined && { unit: node.unit }),
    advanced: node.advanced ?? false,
    kind: kindOf(node, variants),
    choices: choicesOf(node, variants),
    words: wordsIn(variants),
    nullable,
    integer: number !== undefined && isType(number, 'integer'),
    single,
    ...(min !== undefined && { min }),
    // zod writes the largest safe integer where there is no limit.
    ...(max !== undefined && max < Number.MAX_SAFE_INTEGER && { max }),
    aboveMin: number?.exclusiveMinimum !== undefined,
    belowMax: number?.exclusiveMaximum !== undefined,
    defaultValue: node.default,
  };
}

/** The fields of an object schema, in its order. Constants are left out: there is nothing to choose. */
export function fieldsOf(schema: unknown): readonly Field[] {
  const { properties } = NodeSchema.parse(schema);
  return Object.entries(properties ?? {})
    .filter(([, node]) => node.const === undefined)
    .map(([key, node]) => fieldOf(key, node));
}

/** The schema of the object property `key`. */
export function schemaAt(schema: unknown, key: string): unknown {
  return NodeSchema.parse(schema).properties?.[key];
}

/** What an empty field means, and what the field shows then. */
export function emptyMeaning(field: Field): string {
  if (field.defaultValue === undefined || field.defaultValue === null) return field.nullable ? NONE : '';
  return Array.isArray(field.defaultValue) ? field.defaultValue.join(', ') : valueText(field.defaultValue);
}

/** A value as a field shows it. */
export function valueText(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (Array.isArray(value)) return value.map(valueText).join(', ');
  if (typeof value === 'number' && value !== 0 && Math.abs(value) < 1e-3) return value.toExponential();
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The value of a choice that is shown as `text`. */
export function chosen({ choices }: Field, text: string): string | boolean | undefined {
  return choices.find((choice) => valueText(choice) === text);
}

/** The limits of a number in words: "above 0", "0 to 1". */
export function limitsText(field: Field): string {
  const { min, max, aboveMin, belowMax } = field;
  const low = min === undefined ? undefined : `${aboveMin ? 'above' : 'at least'} ${min}`;
  const high = max === undefined ? undefined : `${belowMax ? 'below' : 'at most'} ${max}`;
  if (min !== undefined && max !== undefined && !aboveMin && !belowMax) return `${min} to ${max}`;
  return [low, high].filter((part) => part !== undefined).join(' and ');
}

/** A parsed field, or what is wrong with its text. */
export type Parsed = { readonly value: unknown } | { readonly error: string };

function parseNumber(field: Field, text: string): Parsed {
  const value = Number(text);
  const { min, max, aboveMin, belowMax } = field;
  const outside =
    (min !== undefined && (aboveMin ? value <= min : value < min)) ||
    (max !== undefined && (belowMax ? value >= max : value > max));
  if (
    text.trim() !== '' &&
    Number.isFinite(value) &&
    !outside &&
    (!field.integer || Number.isInteger(value))
  ) {
    return { value };
  }
  const what = field.integer ? 'a whole number' : 'a number';
  const limits = limitsText(field);
  const words = field.words.length === 0 ? '' : ` or ${field.words.map((word) => `"${word}"`).join(', ')}`;
  return { error: `${field.title}: expected ${what}${limits === '' ? '' : ` ${limits}`}${words}` };
}

/** The value that `text` stands for; undefined means "the default". */
export function parseField(field: Field, text: string): Parsed {
  const trimmed = text.trim();
  if (trimmed === '') return { value: field.nullable ? null : undefined };
  if (field.words.includes(trimmed)) return { value: trimmed };
  switch (field.kind) {
    case 'number':
      return parseNumber(field, trimmed);
    case 'numbers': {
      const parts = trimmed
        .split(/[\s,;]+/)
        .filter(Boolean)
        .map((part) => parseNumber(field, part));
      const wrong = parts.find((part) => 'error' in part);
      if (wrong !== undefined) return wrong;
      const values = parts.map((part) => ('value' in part ? part.value : undefined));
      return { value: field.single && values.length === 1 ? values[0] : values };
    }
    case 'several': {
      const names = trimmed.split(/[\s,;]+/).filter(Boolean);
      const unknown = names.find((name) => !field.choices.includes(name));
      return unknown === undefined
        ? { value: names }
        : { error: `${field.title}: "${unknown}" is none of ${field.choices.join(', ')}` };
    }
    case 'json':
      try {
        return { value: JSON.parse(trimmed) as unknown };
      } catch {
        return { error: `${field.title}: expected JSON` };
      }
    case 'choice':
    case 'switch':
    case 'text':
      return { value: trimmed };
  }
}

/** True where `value` is not what the method would take by itself. */
export function differs(field: Field, value: unknown): boolean {
  return value !== undefined && JSON.stringify(value) !== JSON.stringify(field.defaultValue);
}
