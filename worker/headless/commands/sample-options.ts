/** How commands that only look at a model are told what data to read. */
import type { OptionSpec } from './command.ts';

/** How examples are read, whatever they are for. */
export const readingOptions: Readonly<Record<string, OptionSpec>> = {
  mapping: {
    value: 'FIELD=COLUMN',
    multiple: true,
    help: 'which column holds what, where it is not recognised',
  },
  samples: { value: 'N', help: 'at most so many examples, drawn with --seed (default: 128)' },
  'max-length': { value: 'N', help: 'longest example in tokens (default: 2048)' },
  'loss-on': { value: 'completion|all', help: 'which tokens count for the loss (default: all)' },
  template: { value: 'auto|none', help: 'the checkpoint’s chat template, or none (default: auto)' },
  seed: { value: 'N', help: 'seed of everything that is drawn (default: 0)' },
};

/** Options of a command that reads one kind of samples. */
export const sampleOptions: Readonly<Record<string, OptionSpec>> = {
  data: { value: 'FILE', multiple: true, help: 'examples to look at, as for training' },
  ...readingOptions,
};
