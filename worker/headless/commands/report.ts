/** `report RUN… --out FILE`: one self-contained document. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { buildReport, toHtml, toJson, toMarkdown, type ReportData } from '#core/report/index.ts';
import { programVersion } from '#core/process/program-root.ts';
import type { Command } from './command.ts';
import { findRun, readRun } from './find-run.ts';

const writers: Readonly<Record<string, (report: ReportData) => string>> = {
  '.html': toHtml,
  '.htm': toHtml,
  '.md': toMarkdown,
  '.json': toJson,
};

/** Writes the report of the runs. */
export const report: Command = (invocation) => {
  const { args, home } = invocation;
  const out = path.resolve(invocation.requiredText('out'));
  const write = writers[path.extname(out).toLowerCase()];
  if (write === undefined) {
    throw new UserError(
      'cli/bad-value',
      `--out is ${out}`,
      'Expected a name that ends with .html, .md or .json.',
    );
  }
  const data = buildReport(
    args.map((name) => readRun(findRun(name, home))),
    { createdMs: Date.now(), program: `Condenser ${programVersion()}` },
  );
  mkdirSync(path.dirname(out), { recursive: true });
  writeFileSync(out, write(data));
  return Promise.resolve({
    document: { file: out, summary: data.summary },
    text: [...data.summary, '', `Report: ${out}`].join('\n'),
  });
};
