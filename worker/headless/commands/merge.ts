/** `merge MODEL ADAPTER`: one model that computes what a model and its adapters compute together. */
import path from 'node:path';
import type { FloatDtype } from '#worker/checkpoint/index.ts';
import { mergeAdapters } from '#worker/export/index.ts';
import type { Command } from './command.ts';
import { megabytes } from './terminal.ts';

/** Writes the merged model and reads it back. */
export const merge: Command = async (invocation) => {
  const [model = '', adapter = ''] = invocation.args;
  const out = path.resolve(invocation.requiredText('out'));
  const dtype =
    invocation.choice<FloatDtype | 'source'>('dtype', ['source', 'F32', 'BF16', 'F16']) ?? 'source';
  const undo = invocation.flag('undo');
  const written = await mergeAdapters({
    modelDir: path.resolve(model),
    adapterDir: path.resolve(adapter),
    out,
    dtype,
    undo,
  });
  const bytes = written.files.reduce((sum, file) => sum + file.bytes, 0);
  return {
    document: { out, dtype, undone: undo, ...written },
    text: `${out}: ${written.tensors} tensors ${undo ? 'without' : 'with'} their adapters, ${megabytes(bytes / 1e6)}, read back and equal`,
  };
};
