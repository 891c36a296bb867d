/** What a command of the command line is, and what it is given. */
import { UserError } from '#core/contract/errors.ts';

/** Exit statuses, the same for every command. */
export const EXIT = {
  done: 0,
  /** The check or the run failed. */
  failed: 1,
  /** Wrong usage or bad input. */
  usage: 2,
  /** Stopped by the user. */
  stopped: 3,
  /** Parts of different versions met. */
  versionMismatch: 64,
} as const;

/** One option of a command. */
export interface OptionSpec {
  /** What its value is called in help texts; absent for a switch. */
  readonly value?: string;
  /** May be given more than once. */
  readonly multiple?: true;
  readonly help: string;
}

/** A command as data: help texts and the check of its arguments follow from it. */
export interface CommandSpec {
  readonly name: string;
  /** Arguments as help texts show them. */
  readonly usage: string;
  /** Least and most arguments. */
  readonly arguments: readonly [number, number];
  readonly summary: string;
  /** More than the summary says, for `--help`. */
  readonly details?: string;
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Loads the code when the command is called, so that others start without it. */
  readonly load: () => Promise<Command>;
}

/** The code of a command. @throws UserError for wrong usage or input. */
export type Command = (invocation: Invocation) => Promise<Outcome>;

/** What a command comes to. */
export interface Outcome {
  /** `done` when absent. */
  readonly exitCode?: number;
  /** For `--json`: the one document on stdout; absent where lines were written before. */
  readonly document?: unknown;
  /** For a person; absent where everything was said before. */
  readonly text?: string;
}

/** Where a command writes while it works; its result goes into the outcome. */
export interface Terminal {
  readonly json: boolean;
  /** One line of a stream on stdout: JSON with `--json`, else left out. */
  jsonLine(document: unknown): void;
  /** A line for a person on stdout, left out with `--json`. */
  textLine(text: string): void;
  /** What is going on now, on stderr: replaces the line before on a terminal. */
  progress(text: string): void;
  /** A line on stderr that stays. */
  note(text: string): void;
}

/** One call of a command. */
export class Invocation {
  readonly args: readonly string[];
  readonly terminal: Terminal;
  readonly #options: Readonly<Record<string, readonly string[]>>;

  constructor(
    args: readonly string[],
    options: Readonly<Record<string, readonly string[]>>,
    terminal: Terminal,
  ) {
    this.args = args;
    this.#options = options;
    this.terminal = terminal;
  }

  /** The value of option `name`, the last one if it was given more than once. */
  text(name: string): string | undefined {
    return this.#options[name]?.at(-1);
  }

  /** All values of option `name`. */
  texts(name: string): readonly string[] {
    return this.#options[name] ?? [];
  }

  /** @throws UserError `cli/missing-option`. */
  requiredText(name: string): string {
    const text = this.text(name);
    if (text === undefined) {
      throw new UserError('cli/missing-option', `--${name} is missing`, 'The command has no default for it.');
    }
    return text;
  }

  /** True where switch `name` was given. */
  flag(name: string): boolean {
    return this.#options[name] !== undefined;
  }

  /** The value of option `name` as a whole number of at least `least`. @throws UserError `cli/bad-value`. */
  integer(name: string, least = 1): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (!/^\d+$/.test(text) || Number(text) < least) {
      throw new UserError(
        'cli/bad-value',
        `--${name} is ${JSON.stringify(text)}`,
        `Expected a whole number, at least ${least}.`,
      );
    }
    return Number(text);
  }

  /** The value of option `name` as a number. @throws UserError `cli/bad-value`. */
  number(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value)) {
      throw new UserError('cli/bad-value', `--${name} is ${JSON.stringify(text)}`, 'Expected a number.');
    }
    return value;
  }

  /** The value of option `name`, one of `choices`. @throws UserError `cli/bad-value`. */
  choice<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const found = choices.find((choice) => choice === text);
    if (found === undefined) {
      throw new UserError(
        'cli/bad-value',
        `--${name} is ${JSON.stringify(text)}`,
        `Expected ${choices.join(', ')}.`,
      );
    }
    return found;
  }

  /** The data folder asked for; undefined: the default one. */
  get home(): string | undefined {
    return this.text('home');
  }
}
