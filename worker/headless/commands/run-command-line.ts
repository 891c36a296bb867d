/** From arguments to an exit status: finds the command, checks its options, writes its result or its error. */
import { parseArgs } from 'node:util';
import { toErrorInfo, UserError } from '#core/contract/errors.ts';
import { EXIT, Invocation, type CommandSpec, type OptionSpec } from './command.ts';
import { commandTable, commonOptions } from './command-table.ts';
import { commandHelp, generalHelp } from './help.ts';
import { createTerminal, type TextStream } from './terminal.ts';

/** Runs one command line and returns its exit status. Never throws. */
export async function runCommandLine(
  argv: readonly string[],
  stdout: TextStream,
  stderr: TextStream,
): Promise<number> {
  const json = argv.includes('--json');
  const terminal = createTerminal(json, stdout, stderr);
  try {
    const [first, ...rest] = argv;
    if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
      const topic = first === 'help' ? rest.find((word) => !word.startsWith('-')) : undefined;
      stdout.write(topic === undefined ? generalHelp() : commandHelp(await commandNamed(topic)));
      return first === undefined ? EXIT.usage : EXIT.done;
    }
    if (first === '--version') {
      const { programVersion } = await import('#core/process/program-root.ts');
      stdout.write(`${programVersion()}\n`);
      return EXIT.done;
    }
    const spec = await commandNamed(first);
    const { args, options } = await readArguments(spec, rest);
    if (options['help'] !== undefined) {
      stdout.write(commandHelp(spec));
      return EXIT.done;
    }
    checkCount(spec, args);
    const command = await spec.load();
    const { exitCode = EXIT.done, document, text } = await command(new Invocation(args, options, terminal));
    terminal.endProgress();
    if (json && document !== undefined) stdout.write(`${JSON.stringify(document)}\n`);
    if (!json && text !== undefined) stdout.write(text.endsWith('\n') ? text : `${text}\n`);
    return exitCode;
  } catch (error) {
    terminal.endProgress();
    const info = toErrorInfo(error);
    if (json) stdout.write(`${JSON.stringify(info)}\n`);
    else stderr.write(`condenser: ${info.message}\n${info.hint === undefined ? '' : `  ${info.hint}\n`}`);
    if (info.code !== 'internal') return EXIT.usage;
    // A bug: the stack is for whoever mends it.
    if (error instanceof Error && error.stack !== undefined) stderr.write(`${error.stack}\n`);
    return EXIT.failed;
  }
}

async function commandNamed(name: string): Promise<CommandSpec> {
  const spec = commandTable.find((candidate) => candidate.name === name);
  if (spec !== undefined) return spec;
  const names = commandTable.map((candidate) => candidate.name);
  const near = await nearestOf(name, names);
  throw new UserError(
    'cli/unknown-command',
    `there is no command ${JSON.stringify(name)}${near === undefined ? '' : ` (did you mean ${near}?)`}`,
    `Commands: ${names.join(', ')}.`,
  );
}

/** Loaded only for a mistake: the schemas it comes with would double the start of every command. */
async function nearestOf(name: string, candidates: readonly string[]): Promise<string | undefined> {
  const { nearest } = await import('#core/contract/explain-issues.ts');
  return nearest(name, candidates);
}

interface Arguments {
  readonly args: readonly string[];
  /** Option → its values; a switch that was given has none. */
  readonly options: Readonly<Record<string, readonly string[]>>;
}

async function readArguments(spec: CommandSpec, argv: readonly string[]): Promise<Arguments> {
  const known: Record<string, OptionSpec> = { ...spec.options, ...commonOptions };
  const { tokens } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(
      Object.entries(known).map(([name, { value }]) => [
        name,
        { type: value === undefined ? ('boolean' as const) : ('string' as const) },
      ]),
    ),
    // Checked below, to say more than the library does.
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const args: string[] = [];
  const options: Record<string, string[]> = {};
  for (const token of tokens) {
    if (token.kind === 'positional') args.push(token.value);
    if (token.kind !== 'option') continue;
    const option = Object.hasOwn(known, token.name) ? known[token.name] : undefined;
    if (option === undefined) throw await unknownOption(spec, token.rawName, Object.keys(known));
    checkValue(option, token.rawName, token.value, token.inlineValue === true);
    const values = (options[token.name] ??= []);
    if (token.value !== undefined) values.push(token.value);
    if (option.value !== undefined && option.multiple === undefined && values.length > 1) {
      throw new UserError(
        'cli/repeated-option',
        `${token.rawName} is given more than once`,
        'Keep one of them.',
      );
    }
  }
  return { args, options };
}

async function unknownOption(
  spec: CommandSpec,
  rawName: string,
  known: readonly string[],
): Promise<UserError> {
  const near = await nearestOf(rawName.replace(/^-+/, ''), known);
  return new UserError(
    'cli/unknown-option',
    `${spec.name} has no option ${rawName}${near === undefined ? '' : ` (did you mean --${near}?)`}`,
    `Options: ${known.map((name) => `--${name}`).join(', ')}.`,
  );
}

function checkValue(option: OptionSpec, rawName: string, value: string | undefined, inline: boolean): void {
  // What looks like the next option is one, unless it is written as --name=--value.
  const isOption = !inline && value?.startsWith('--') === true;
  if (option.value !== undefined && (value === undefined || isOption)) {
    throw new UserError(
      'cli/missing-value',
      `${rawName} has no value`,
      `Expected ${rawName} ${option.value}.`,
    );
  }
  if (option.value === undefined && value !== undefined) {
    throw new UserError(
      'cli/bad-value',
      `${rawName} is a switch and takes no value`,
      `Write ${rawName} alone.`,
    );
  }
}

function checkCount(spec: CommandSpec, args: readonly string[]): void {
  const [least, most] = spec.arguments;
  if (args.length >= least && args.length <= most) return;
  throw new UserError(
    'cli/arguments',
    args.length < least
      ? `${spec.name} needs ${spec.usage}`
      : `${spec.name} takes ${most === 0 ? 'no argument' : `only ${spec.usage}`}, not ${JSON.stringify(args[most])}`,
    `See: condenser ${spec.name} --help`,
  );
}
