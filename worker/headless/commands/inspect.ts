/** `inspect MODEL`: what a checkpoint folder holds, and what is wrong with it. */
import path from 'node:path';
import { openModelFolder } from '#worker/checkpoint/index.ts';
import { inspectModel } from '#worker/train/index.ts';
import { EXIT, type Command } from './command.ts';
import { count, megabytes, table } from './terminal.ts';

/** Describes the folder; fails when it has problems. */
export const inspect: Command = async (invocation) => {
  const dir = path.resolve(invocation.args[0] ?? '');
  const summary = await inspectModel(dir);
  const sha256 = invocation.flag('no-hash') ? undefined : await hash(dir);
  const { parameters, tokenizer, problems } = summary;
  const kinds = Object.entries(parameters.byKind).map(([kind, size]) => `${kind} ${count(size)}`);
  const text = [
    table([
      ['folder', dir],
      ['family', summary.family],
      ['parameters', `${count(parameters.total)}, ${count(parameters.active)} active for a token`],
      ['of these', kinds.join(', ')],
      ['layers', `${summary.layers}, ${summary.moeLayers} with experts`],
      ['experts', `${summary.experts} in a layer, ${summary.expertsPerToken} for a token`],
      ['hidden size', count(summary.hiddenSize)],
      ['vocabulary', count(summary.vocabularySize)],
      [
        'weights',
        `${summary.dtype}, ${megabytes(summary.bytes / 1e6)} in ${summary.shards} ${summary.shards === 1 ? 'file' : 'files'}`,
      ],
      ['tokenizer', tokenizer.present ? `${count(tokenizer.vocabularySize ?? 0)} tokens` : 'none'],
      ['chat template', tokenizer.chatTemplate ? 'yes' : 'none'],
      ...(sha256 === undefined ? [] : [['sha256', sha256]]),
    ]),
    ...problems.map((problem) => `problem: ${problem}`),
  ].join('\n');
  return {
    exitCode: problems.length === 0 ? EXIT.done : EXIT.failed,
    document: { ...summary, ...(sha256 !== undefined && { sha256 }) },
    text,
  };
};

async function hash(dir: string): Promise<string> {
  const folder = await openModelFolder(dir);
  try {
    return await folder.sha256();
  } finally {
    folder.close();
  }
}
