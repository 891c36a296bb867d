/** `compare COMPARISON.json`: trains every method with every learning rate and seed, one after another, and compares. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { UserError } from '#core/contract/errors.ts';
import { parseComparison } from '#core/contract/method-comparison.ts';
import { methodLabel } from '#core/contract/methods-together.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import type { RunState } from '#core/contract/run-state.ts';
import { resolveSpecPaths } from '#core/host/index.ts';
import { buildReport, compareRuns, toHtml } from '#core/report/index.ts';
import { readRunRow, readRunSpec } from '#core/store/index.ts';
import { programVersion } from '#core/process/program-root.ts';
import type { HeadlessTask } from '../run-headless.ts';
import { EXIT, type Invocation, type Outcome, type Terminal } from './command.ts';
import { describeComparison } from './describe-comparison.ts';
import { isRunFolder, readRun } from './find-run.ts';
import { followRun } from './follow-run.ts';

/**
 * Trains the comparison in `document`. With `--out`, what ended before is used again and what was cut short goes on.
 * @throws UserError of `parseComparison` and of `followRun`.
 */
export async function trainComparison(
  invocation: Invocation,
  document: unknown,
  file: string,
): Promise<Outcome> {
  const base = path.dirname(path.resolve(file));
  const specs = parseComparison(document, file).map((spec) => resolveSpecPaths(spec, base));
  const { terminal, home } = invocation;
  const out = invocation.text('out');
  // One document on stdout: the lines of each run are not part of it.
  const quiet: Terminal = { ...terminal, jsonLine: () => undefined };
  const dirs: string[] = [];
  for (const [index, spec] of specs.entries()) {
    const runDir = out === undefined ? undefined : path.resolve(out, 'runs', folderOf(spec, index));
    const before = runDir === undefined ? undefined : stateBefore(runDir, spec);
    if (runDir !== undefined && before === 'completed') {
      dirs.push(runDir);
      continue;
    }
    const task: HeadlessTask =
      runDir !== undefined && before !== undefined ? { resumeDir: runDir } : { spec, runDir };
    const label = `${index + 1} of ${specs.length}, ${spec.name}: `;
    const { exitCode, detail, dir = runDir } = await followRun(task, home, quiet, label);
    if (exitCode !== EXIT.done || dir === undefined) {
      const { state, lastStep, reason, error } = detail;
      const again = out === undefined ? '' : ' The same command goes on from here.';
      return {
        exitCode,
        document: { runs: dirs, state, error: error ?? null },
        text: `${spec.name} ${state} at step ${lastStep}${reason === undefined ? '' : `: ${reason}`}.${again}`,
      };
    }
    dirs.push(dir);
  }
  const runs = dirs.map(readRun);
  const comparison = compareRuns(runs);
  const report = out === undefined ? undefined : path.resolve(out, 'report.html');
  if (report !== undefined) {
    mkdirSync(path.dirname(report), { recursive: true });
    const stamp = { createdMs: Date.now(), program: `Condenser ${programVersion()}` };
    writeFileSync(report, toHtml(buildReport(runs, stamp)));
  }
  return {
    document: { ...comparison, ...(report !== undefined && { report }) },
    text: `${describeComparison(comparison)}${report === undefined ? '' : `\n\nReport: ${report}`}`,
  };
}

/** The order of training, the method and the seed. */
function folderOf({ method, train }: RunSpec, index: number): string {
  return `${String(index + 1).padStart(2, '0')}-${methodLabel(method).replaceAll(' ', '')}-seed-${train.seed}`;
}

/**
 * State of the run that an earlier call left in `runDir`; undefined where there is none.
 * @throws UserError `comparison/other-run` where it is not the run of `spec`.
 */
function stateBefore(runDir: string, spec: RunSpec): RunState | undefined {
  if (!isRunFolder(runDir)) return undefined;
  // Threads and memory come from the settings where the document leaves them open.
  const terms = (of: RunSpec): unknown => JSON.parse(JSON.stringify({ ...of, engine: undefined }));
  if (!isDeepStrictEqual(terms(readRunSpec(runDir)), terms(spec))) {
    throw new UserError(
      'comparison/other-run',
      `${runDir}: the run there has other settings than this comparison`,
      'Give another --out, or remove that folder.',
    );
  }
  return readRunRow(runDir).state;
}
