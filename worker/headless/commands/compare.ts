/** `compare`: runs side by side, or a comparison of methods from training on. */
import { isComparison } from '#core/contract/method-comparison.ts';
import { compareRuns } from '#core/report/index.ts';
import type { Command } from './command.ts';
import { describeComparison } from './describe-comparison.ts';
import { findRun, isRunFolder, readDocument, readRun } from './find-run.ts';
import { trainComparison } from './train-comparison.ts';

/** Compares the runs, or trains and compares what the document says. */
export const compare: Command = async (invocation) => {
  const { args, home } = invocation;
  const [only = '', ...others] = args;
  if (others.length === 0 && only.endsWith('.json') && !isRunFolder(only)) {
    const document = readDocument(only);
    if (isComparison(document)) {
      return trainComparison(invocation, document, only);
    }
  }
  const comparison = compareRuns(args.map((name) => readRun(findRun(name, home))));
  return { document: comparison, text: describeComparison(comparison) };
};
