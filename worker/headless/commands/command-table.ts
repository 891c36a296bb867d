/** Every command, in the order of help texts. */
import { checkpointCommands } from './checkpoint-commands.ts';
import type { CommandSpec, OptionSpec } from './command.ts';
import { deviceWeightsOption } from './device-weights.ts';
import { runCommands } from './run-commands.ts';

/** Options every command takes. */
export const commonOptions: Readonly<Record<string, OptionSpec>> = {
  home: {
    value: 'DIR',
    help: 'data folder (default: CONDENSER_HOME, else the system’s place for program data)',
  },
  json: { help: 'one JSON document on stdout and nothing else' },
  help: { help: 'show this help' },
};

/** The commands. */
export const commandTable: readonly CommandSpec[] = [
  {
    name: 'demo',
    usage: '',
    arguments: [0, 0],
    summary: 'train the bundled sample with full fine-tuning and with expert condensers, and compare',
    options: { out: { value: 'DIR', help: 'where runs and report.html go (default: ./demo)' } },
    load: async () => (await import('./demo.ts')).demo,
  },
  {
    name: 'doctor',
    usage: '',
    arguments: [0, 0],
    summary: 'what this machine has to train with, each used or why not; tries a training step on an adapter',
    options: {},
    load: async () => (await import('./doctor.ts')).doctor,
  },
  {
    name: 'inspect',
    usage: 'MODEL',
    arguments: [1, 1],
    summary: 'describe a checkpoint folder and list every problem found',
    options: { 'no-hash': { help: 'leave out sha256, which reads every byte' } },
    load: async () => (await import('./inspect.ts')).inspect,
  },
  {
    name: 'data',
    usage: 'FILE…',
    arguments: [1, Infinity],
    summary: 'format, rows, lengths and problems of data files; with --model counted in its tokens',
    options: {
      model: { value: 'MODEL', help: 'checkpoint folder whose tokenizer and chat template are used' },
      mapping: {
        value: 'FIELD=COLUMN',
        multiple: true,
        help: 'which column holds what, where it is not recognised',
      },
      'max-length': { value: 'N', help: 'longest example in tokens (default: 512)' },
      'loss-on': { value: 'completion|all', help: 'which tokens are trained (default: completion)' },
      template: { value: 'auto|none', help: 'the checkpoint’s chat template, or none (default: auto)' },
      show: { value: 'N', help: 'print row N as tokens, the trained ones marked (needs --model)' },
    },
    load: async () => (await import('./data.ts')).data,
  },
  ...runCommands,
  ...checkpointCommands,
  {
    name: 'parity',
    usage: 'CASE…',
    arguments: [1, Infinity],
    summary: 'compare with what reference implementations computed',
    details: 'A CASE is a folder with case.json, or a folder of such folders.',
    options: {
      provider: { value: 'cpu|webgpu', help: 'what computes (default: cpu)' },
      'device-weights': deviceWeightsOption,
    },
    load: async () => (await import('./parity.ts')).parity,
  },
  {
    name: 'bench',
    usage: '',
    arguments: [0, 0],
    summary: 'measure speed and memory of training, or of generation, on random tokens',
    options: {
      model: { value: 'MODEL', help: 'checkpoint folder (default: the bundled sample)' },
      method: {
        value: 'NAME',
        help: 'training method (default: full); all: processor time of every method beside full, their steps in turn',
      },
      batch: { value: 'B', help: 'rows of a micro-batch (default: 4)' },
      seq: { value: 'S', help: 'tokens of a row (default: 256)' },
      steps: {
        value: 'N',
        help: 'measured steps, after two to warm up; with --generate repetitions (default: 5)',
      },
      threads: { value: 'N', help: 'threads (default: all cores)' },
      moments: { value: 'FORMAT', help: 'moments of AdamW: float32 (default), bfloat16 or float8' },
      'frozen-experts': {
        value: 'stored|int8|int8-products',
        help: 'how experts that do not train are held and multiplied on the CPU (default: stored)',
      },
      'device-weights': deviceWeightsOption,
      tokens: {
        value: 'FILE',
        help: 'token ids to train on, little-endian u32 (default: random, fixed seed)',
      },
      provider: { value: 'cpu|webgpu', help: 'what computes (default: cpu)' },
      profile: {
        help: 'also the time in each kind of stage and of kernel, the bytes these move, and on a GPU what was left to the CPU',
      },
      generate: { help: 'greedy generation in place of training: one prompt, and eight at once' },
    },
    load: async () => (await import('./bench/bench.ts')).bench,
  },
  {
    name: 'serve',
    usage: '',
    arguments: [0, 0],
    summary: 'the workbench in a browser, on loopback only; prints the address',
    options: { port: { value: 'N', help: 'port (default: 0, any free one)' } },
    load: async () => (await import('./serve.ts')).serveCommand,
  },
];
