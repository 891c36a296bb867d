/** Renders a checkpoint's Jinja chat template, with limits on what a template may do. */
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { UserError } from '#core/contract/errors.ts';
import type { RuntimeValue, Statement } from '@huggingface/jinja';
import type { ChatMessage } from './mapping.ts';

/** What a rendering is for. */
export interface RenderOptions {
  /** End with the start of the assistant's turn, for generation. */
  readonly addGenerationPrompt?: boolean;
  /** Further variables of the template, e.g. `date_string`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** Nodes evaluated and numbers counted for one rendering; real templates need about fifty a message. */
const MAX_STEPS = 500_000;
const MAX_RANGE = 10_000;
/** UTF-16 units of a rendered conversation. */
const MAX_OUTPUT = 32 * 1024 * 1024;

/** What `strftime_now` answers: a rendering must not depend on the day it is made. */
const FIXED_DATE = new Date(Date.UTC(2024, 6, 26));
const MONTHS = 'January February March April May June July August September October November December'.split(
  ' ',
);
const two = (value: number) => String(value).padStart(2, '0');

/** The date fields templates use; others are left as written. */
function formatFixedDate(format: string): string {
  const month = MONTHS[FIXED_DATE.getUTCMonth()] ?? '';
  const fields: Readonly<Record<string, string>> = {
    Y: String(FIXED_DATE.getUTCFullYear()),
    m: two(FIXED_DATE.getUTCMonth() + 1),
    d: two(FIXED_DATE.getUTCDate()),
    B: month,
    b: month.slice(0, 3),
    A: 'Friday',
    a: 'Fri',
    H: '00',
    M: '00',
    S: '00',
  };
  return format.replaceAll(/%([A-Za-z])/g, (whole, field: string) => fields[field] ?? whole);
}

class LimitError extends Error {}

/** The template asks for an end: it does not support the conversation. */
class RefusedError extends Error {}

class LimitedInterpreter extends Interpreter {
  #steps = 0;

  charge(steps: number): void {
    this.#steps += steps;
    if (this.#steps > MAX_STEPS) throw new LimitError('it does not come to an end');
  }

  override evaluate(statement: Statement | undefined, environment: Environment): RuntimeValue {
    this.charge(1);
    const strip = statement === undefined ? undefined : stripCall(statement);
    return strip === undefined ? super.evaluate(statement, environment) : this.#strip(strip, environment);
  }

  /** `text.strip(characters)`: the interpreter knows strip, lstrip and rstrip without an argument only, and ignores one. */
  #strip(call: StripCall, environment: Environment): RuntimeValue {
    const text = this.evaluate(call.object, environment).value;
    const characters = this.evaluate(call.characters, environment).value;
    if (typeof text !== 'string' || typeof characters !== 'string') {
      throw new TypeError(`${call.method} expects a string, applied to a string`);
    }
    let start = 0;
    let end = text.length;
    if (call.method !== 'rstrip') while (start < end && characters.includes(text[start] ?? '')) start += 1;
    if (call.method !== 'lstrip') while (end > start && characters.includes(text[end - 1] ?? '')) end -= 1;
    return new Environment().set('stripped', text.slice(start, end));
  }
}

interface StripCall {
  readonly method: string;
  readonly object: Statement;
  readonly characters: Statement;
}

/** Recognises `object.strip(characters)` and its two kin. */
function stripCall({ type, callee, args }: Statement): StripCall | undefined {
  if (type !== 'CallExpression' || callee?.type !== 'MemberExpression') return undefined;
  const method = callee.property?.value;
  const characters = args?.[0];
  if (callee.object === undefined || characters === undefined) return undefined;
  if (method !== 'strip' && method !== 'lstrip' && method !== 'rstrip') return undefined;
  return { method, object: callee.object, characters };
}

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!(count <= MAX_RANGE)) throw new LimitError(`it loops over ${count} numbers`);
  return Array.from({ length: count }, (_, index) => from + index * step);
}

/** A parsed template. */
export class ChatTemplate {
  readonly #program: ReturnType<typeof parse>;
  readonly #file: string;
  readonly #specialTokens: Readonly<Record<string, string>>;

  /**
   * @param file where the template came from, for messages.
   * @param specialTokens given to the template by name (`bos_token`, …).
   * @throws UserError `template/invalid` when it doesn't parse.
   */
  constructor(source: string, file: string, specialTokens: Readonly<Record<string, string>>) {
    this.#file = file;
    this.#specialTokens = specialTokens;
    try {
      this.#program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
    } catch (cause) {
      throw new UserError(
        'template/invalid',
        `${file}: the chat template is not valid Jinja (${cause instanceof Error ? cause.message : String(cause)})`,
        'Copy the template from the model again, or train with the template "none".',
        { cause },
      );
    }
  }

  /** @throws UserError `template/refused` (the template's own objection), `template/failed` or `template/limit`. */
  render(messages: readonly ChatMessage[], options: RenderOptions): string {
    const environment = new Environment();
    const interpreter = new LimitedInterpreter(environment);
    const globals = {
      true: true,
      false: false,
      none: null,
      True: true,
      False: false,
      None: null,
      range: (start: number, stop?: number, step?: number) => {
        const numbers = range(start, stop, step);
        interpreter.charge(numbers.length);
        return numbers;
      },
      strftime_now: formatFixedDate,
      raise_exception: (why: unknown) => {
        throw new RefusedError(String(why));
      },
      ...this.#specialTokens,
      ...options.variables,
      messages: messages.map((message) => ({ ...message })),
      add_generation_prompt: options.addGenerationPrompt ?? false,
    };
    for (const [name, value] of Object.entries(globals)) environment.set(name, value);
    let rendered: unknown;
    try {
      rendered = interpreter.run(this.#program).value;
    } catch (cause) {
      throw this.#failure(cause);
    }
    if (typeof rendered === 'string' && rendered.length <= MAX_OUTPUT) return rendered;
    throw this.#failure(new LimitError(`it writes more than ${MAX_OUTPUT / 2 ** 20} Mi characters`));
  }

  #failure(cause: unknown): UserError {
    const why = cause instanceof Error ? cause.message : String(cause);
    if (cause instanceof RefusedError) {
      return new UserError(
        'template/refused',
        `the chat template refuses this conversation: ${why}`,
        'Change the order or the roles of the messages; most templates want user and assistant in turn.',
        { cause },
      );
    }
    const limit = cause instanceof LimitError || cause instanceof RangeError;
    return new UserError(
      limit ? 'template/limit' : 'template/failed',
      `${this.#file}: the chat template was stopped: ${limit ? why : `it fails (${why})`}`,
      'Copy the template from the model again, or train with the template "none".',
      { cause },
    );
  }
}
