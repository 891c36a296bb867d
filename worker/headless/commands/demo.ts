/** `demo`: the bundled sample, trained in several ways on equal terms, and what came of it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readDemo } from '#core/host/index.ts';
import { buildReport, toHtml } from '#core/report/index.ts';
import { fromRoot, programVersion } from '#core/process/program-root.ts';
import { EXIT, type Command, type Terminal } from './command.ts';
import { readRun } from './find-run.ts';
import { followRun } from './follow-run.ts';

/** Trains the runs of the sample one after another and reports on them. */
export const demo: Command = async (invocation) => {
  const { home } = invocation;
  // One document at the end, not the lines of each run before it.
  const terminal: Terminal = { ...invocation.terminal, jsonLine: () => undefined };
  const out = path.resolve(invocation.text('out') ?? 'demo');
  const specs = readDemo(fromRoot('resources/sample'));
  const started = new Date().toISOString().replaceAll(/[-:]/g, '').slice(0, 15);
  const dirs: string[] = [];
  for (const [index, spec] of specs.entries()) {
    // A demo can be run again: nothing of an earlier one is overwritten but the report.
    const runDir = path.join(out, 'runs', `${started}-${index + 1}-${spec.method.name}`);
    const { exitCode, detail } = await followRun({ spec, runDir }, home, terminal, `${spec.name}: `);
    if (exitCode !== EXIT.done) {
      const { state, lastStep, reason, error } = detail;
      return {
        exitCode,
        document: { runs: dirs, state, error: error ?? null },
        text: `${spec.name} ${state} at step ${lastStep}${reason === undefined ? '' : `: ${reason}`}`,
      };
    }
    dirs.push(runDir);
  }
  const report = buildReport(dirs.map(readRun), {
    createdMs: Date.now(),
    program: `Condenser ${programVersion()}`,
  });
  const file = path.join(out, 'report.html');
  mkdirSync(out, { recursive: true });
  writeFileSync(file, toHtml(report));
  const runs = report.runs.map(({ id, name, method, totals }, index) => ({
    id,
    name,
    method,
    dir: dirs[index],
    validation: totals.finalValidation ?? null,
    steps: totals.steps,
    tokensPerSecond: totals.tokensPerSecond ?? null,
  }));
  return {
    document: { report: file, runs, summary: report.summary },
    text: [...report.summary, '', `Report: ${file}`].join('\n'),
  };
};
