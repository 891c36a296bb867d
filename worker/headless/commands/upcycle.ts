/** `upcycle MODEL`: a checkpoint with experts from a dense one. */
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import type { FloatDtype } from '#worker/checkpoint/index.ts';
import { seededDraws, upcycle as upcycleModel } from '#worker/transform/index.ts';
import type { Command } from './command.ts';
import { megabytes } from './terminal.ts';

/** Writes the checkpoint and reads it back. */
export const upcycle: Command = async (invocation) => {
  const [model = ''] = invocation.args;
  const out = path.resolve(invocation.requiredText('out'));
  const experts = invocation.integer('experts', 2) ?? 8;
  const expertsPerToken = invocation.integer('top-k') ?? 2;
  const every = invocation.integer('every') ?? 1;
  const noise = invocation.number('noise') ?? 0;
  if (noise < 0) {
    throw new UserError('cli/bad-value', `--noise is ${noise}`, 'Expected a number of at least 0.');
  }
  const seed = invocation.integer('seed', 0) ?? 0;
  const dtype =
    invocation.choice<FloatDtype | 'source'>('dtype', ['source', 'F32', 'BF16', 'F16']) ?? 'source';
  const made = await upcycleModel({
    modelDir: path.resolve(model),
    out,
    experts,
    expertsPerToken,
    every,
    dtype,
    draws: seededDraws(seed, noise),
  });
  const bytes = made.files.reduce((sum, file) => sum + file.bytes, 0);
  return {
    document: { out, experts, expertsPerToken, noise, seed, dtype, ...made },
    text: [
      `${out}: ${made.family}, ${experts} experts in ${made.moeLayers.length} layers, ${expertsPerToken} for a token, ${megabytes(bytes / 1e6)}, read back and equal`,
      noise === 0
        ? 'It computes what the dense model does until it is trained.'
        : `Noise of standard deviation ${noise} was added to every expert: it no longer computes what the dense model does.`,
    ].join('\n'),
  };
};
