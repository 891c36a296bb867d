/** `parity CASE…`: golden cases, compared check by check. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { DeviceWeights } from '#core/contract/run-spec.ts';
import { runCase, type CaseResult } from '#worker/testing/index.ts';
import { EXIT, type Command } from './command.ts';
import { checkDeviceWeights } from './device-weights.ts';
import { table } from './terminal.ts';

/** Runs the cases; fails when one does, or is not supported. */
export const parity: Command = async (invocation) => {
  const { args, terminal } = invocation;
  const provider = invocation.choice('provider', ['cpu', 'webgpu']) ?? 'cpu';
  const deviceWeights = invocation.choice('device-weights', DeviceWeights.options) ?? 'auto';
  checkDeviceWeights(provider, deviceWeights);
  const cases: CaseResult[] = [];
  for (const dir of args.flatMap(findCases)) {
    terminal.progress(dir);
    cases.push(await runCase(dir, { provider, deviceWeights }));
  }
  return {
    exitCode: cases.every(({ ok }) => ok) ? EXIT.done : EXIT.failed,
    document: { cases },
    text: cases.map(describe).join('\n\n'),
  };
};

/** The cases in `dir`: itself, or those somewhere below it. @throws UserError `parity/no-case`. */
function findCases(dir: string): string[] {
  const found = casesBelow(path.resolve(dir));
  if (found.length > 0) return found;
  throw new UserError(
    'parity/no-case',
    existsSync(dir) ? `${dir} holds no case` : `${dir} does not exist`,
    'A case is a folder with case.json.',
  );
}

function casesBelow(dir: string): string[] {
  if (!existsSync(dir)) return [];
  if (existsSync(path.join(dir, 'case.json'))) return [dir];
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => path.join(dir, entry.name))
    .sort()
    .flatMap(casesBelow);
}

function describe(result: CaseResult): string {
  if (result.unsupported !== undefined) return `${result.case}: not supported: ${result.unsupported}`;
  const exponential = (value: number) => (value === 0 ? '0' : value.toExponential(1));
  const rows = result.checks.map(({ name, maxAbs, maxRel, limit, ok }) => [
    `  ${ok ? 'ok' : 'FAILED'}`,
    name,
    exponential(maxAbs),
    exponential(maxRel),
    exponential(limit),
  ]);
  return [
    `${result.case}: ${result.ok ? 'ok' : 'FAILED'}, ${result.checks.length} checks`,
    table([['', 'check', 'max abs', 'max rel', 'limit'], ...rows]),
  ].join('\n');
}
