/** Help texts, made from the table of commands. */
import { table } from './terminal.ts';
import type { CommandSpec, OptionSpec } from './command.ts';
import { commandTable, commonOptions } from './command-table.ts';

/** All commands in a line each. */
export function generalHelp(): string {
  const commands = commandTable.map(({ name, usage, summary }) => [`  ${name} ${usage}`.trimEnd(), summary]);
  return [
    'Usage: condenser COMMAND [options]',
    '',
    'Fine-tunes Mixture-of-Experts language models on this machine.',
    '',
    table(commands),
    '',
    'Options of every command:',
    optionTable(commonOptions),
    '',
    'Exit status: 0 done, 1 the check or run failed, 2 wrong usage or bad input, 3 stopped by the user, 64 version mismatch.',
    'More on a command: condenser COMMAND --help',
    '',
  ].join('\n');
}

/** One command with its options. */
export function commandHelp({ name, usage, summary, details, options }: CommandSpec): string {
  return [
    `Usage: condenser ${name} ${usage}`.trimEnd() + (Object.keys(options).length > 0 ? ' [options]' : ''),
    '',
    `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`,
    ...(details === undefined ? [] : [details]),
    '',
    optionTable({ ...options, ...commonOptions }),
    '',
  ].join('\n');
}

function optionTable(options: Readonly<Record<string, OptionSpec>>): string {
  return table(
    Object.entries(options).map(([name, { value, multiple, help }]) => [
      `  --${name}${value === undefined ? '' : ` ${value}`}`,
      multiple === undefined ? help : `${help} (may be repeated)`,
    ]),
  );
}
