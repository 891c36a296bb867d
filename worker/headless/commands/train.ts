/** `train RUN.json`: one run, from its start or from its last checkpoint. */
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { ProviderChoice } from '#core/contract/run-spec.ts';
import { readRunSpec } from '#core/store/index.ts';
import type { HeadlessTask } from '../run-headless.ts';
import type { Command, Invocation } from './command.ts';
import { findRun, readSpec } from './find-run.ts';
import { followRun } from './follow-run.ts';
import { count } from './terminal.ts';

/** Trains the run. */
export const train: Command = async (invocation) => {
  const { terminal, home } = invocation;
  const { exitCode, detail, dir } = await followRun(taskOf(invocation), home, terminal);
  const { state, lastStep, totalSteps, reason, error } = detail;
  if (error !== undefined) terminal.jsonLine(error);
  const total = totalSteps === undefined ? '' : ` of ${count(totalSteps)}`;
  const text = [
    `${state} at step ${count(lastStep)}${total}${reason === undefined ? '' : `: ${reason}`}`,
    ...(error?.hint === undefined ? [] : [`  ${error.hint}`]),
    ...(dir === undefined ? [] : [`run directory: ${dir}`]),
  ].join('\n');
  return { exitCode, text };
};

function taskOf(invocation: Invocation): HeadlessTask {
  const provider = invocation.choice('provider', ProviderChoice.options);
  const [file = ''] = invocation.args;
  const out = invocation.text('out');
  const steps = invocation.integer('steps');
  if (!invocation.flag('resume')) {
    const spec = readSpec(file, steps);
    const engine = { ...spec.engine, ...(provider && { provider }) };
    return { spec: { ...spec, engine }, runDir: out === undefined ? undefined : path.resolve(out) };
  }
  const resumeDir = findRun(out ?? file, invocation.home);
  const own = readRunSpec(resumeDir).train.steps;
  if (steps !== undefined && steps !== own) {
    throw new UserError(
      'cli/resume-steps',
      `--steps ${steps} does not fit the run in ${resumeDir}, which has ${own === undefined ? 'epochs' : `${own} steps`}`,
      'A resumed run keeps its length, since the learning rate follows it; leave --steps out.',
    );
  }
  return { resumeDir, provider };
}
