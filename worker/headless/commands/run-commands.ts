/** The commands that plan, train, ask, compare, report and export runs. */
import type { CommandSpec } from './command.ts';

const RUN = 'A RUN is a run directory, or the id of a run in the data folder.';

/** In the order of help texts. */
export const runCommands: readonly CommandSpec[] = [
  {
    name: 'plan',
    usage: 'RUN.json',
    arguments: [1, 1],
    summary: 'check a run and estimate memory, disk and time, without starting it',
    options: {
      steps: { value: 'N', help: 'optimizer steps in place of what the file says' },
      experts: {
        help: 'for esft: route the sample of the data first, and say which experts would train at which share',
      },
    },
    load: async () => (await import('./plan.ts')).plan,
  },
  {
    name: 'train',
    usage: 'RUN.json',
    arguments: [1, 1],
    summary: 'train a run; with --json a stream of JSON lines',
    details:
      'Ctrl-C once stops after the current micro-batch with a checkpoint; twice ends at once and keeps the last one. ' +
      'To go on with a run, give its directory (or its RUN.json and --out) and --resume.',
    options: {
      out: { value: 'DIR', help: 'run directory (default: a new one in the data folder)' },
      steps: { value: 'N', help: 'optimizer steps in place of what the file says' },
      resume: { help: 'go on from the last checkpoint' },
      provider: {
        value: 'auto|cpu|webgpu',
        help: 'what computes, in place of what the file says; a resumed run may change it',
      },
    },
    load: async () => (await import('./train.ts')).train,
  },
  {
    name: 'evaluate',
    usage: 'RUN|MODEL',
    arguments: [1, 1],
    summary: 'score answers to questions whose answers are known, with a 95 % interval',
    details:
      `${RUN} Its newest checkpoint is asked, and the scores are kept in scores.json beside it, which reports show. ` +
      'A suite is a file of questions and answers in any format that training reads, or validation: the rows that the run held out. ' +
      'Answers are greedy. They are found by two rules, that of published evaluators and a stricter one, which counts.',
    options: {
      suite: { value: 'FILE|validation', multiple: true, help: 'what to ask' },
      mapping: {
        value: 'FIELD=COLUMN',
        multiple: true,
        help: 'which column holds what, where it is not recognised',
      },
      answer: { value: 'COLUMN', help: 'column of the right answer (default: answer, else the response)' },
      kind: {
        value: 'number|letter|label|expression|text',
        help: 'what answers are (default: what the right ones look like)',
      },
      samples: { value: 'N', help: 'at most so many questions, drawn with --seed (default: all)' },
      seed: { value: 'N', help: 'seed of the draw (default: 0)' },
      'max-new-tokens': { value: 'N', help: 'longest answer in tokens (default: 256)' },
      batch: { value: 'B', help: 'questions answered at once (default: 8)' },
      template: { value: 'auto|none', help: 'the checkpoint’s chat template, or none (default: as trained)' },
      out: { value: 'FILE', help: 'write every answer and what was found in it, as JSON Lines' },
    },
    load: async () => (await import('./evaluate.ts')).evaluate,
  },
  {
    name: 'generate',
    usage: 'RUN|MODEL',
    arguments: [1, 1],
    summary: 'continue a prompt',
    details: `${RUN} Its newest checkpoint is used. A MODEL is a checkpoint folder.`,
    options: {
      prompt: {
        value: 'TEXT',
        help: 'what to continue; put into the chat template where the checkpoint has one',
      },
      'max-new-tokens': { value: 'N', help: 'stop after N tokens (default: 64)' },
      temperature: {
        value: 'T',
        help: 'draw each token from its probabilities at this temperature (default: 0, the likeliest)',
      },
      seed: { value: 'N', help: 'seed of what is drawn (default: 0)' },
      plain: { help: 'the prompt as it is, without chat template' },
      routing: { help: 'also the experts and weights of every token' },
    },
    load: async () => (await import('./generate.ts')).generate,
  },
  {
    name: 'usage',
    usage: 'RUN',
    arguments: [1, 1],
    summary: 'expert load, gate mass, bias and condensers by layer and step',
    details: RUN,
    options: {
      step: { value: 'N', help: 'only step N (default for people: the last one)' },
      csv: { help: 'a CSV table: one line for each step, layer and expert' },
    },
    load: async () => (await import('./usage.ts')).usage,
  },
  {
    name: 'compare',
    usage: 'RUN…|COMPARISON.json',
    arguments: [1, Infinity],
    summary: 'runs side by side; or train several methods with several seeds on equal terms, then compare',
    details:
      `${RUN} A COMPARISON.json is a RUN.json with "methods": [{"name": …, "options": {…}}] and "seeds": [1, 2, 3] in place of method and train.seed. ` +
      'A method may have "learningRates": [1e-5, 3e-5, 1e-4] too: it is trained with each, and compared at the one with the lowest mean validation loss. ' +
      'With --out a comparison that was cut short goes on where it was.',
    options: {
      out: {
        value: 'DIR',
        help: 'for a COMPARISON.json: where its runs and report.html go (default: the data folder, no report)',
      },
    },
    load: async () => (await import('./compare.ts')).compare,
  },
  {
    name: 'report',
    usage: 'RUN…',
    arguments: [1, Infinity],
    summary: 'write one self-contained report',
    details: RUN,
    options: { out: { value: 'FILE', help: 'the file to write; .html, .md or .json says which format' } },
    load: async () => (await import('./report.ts')).report,
  },
  {
    name: 'export',
    usage: 'RUN',
    arguments: [1, 1],
    summary: 'write the trained model for use elsewhere, and verify it by reading it back',
    details: `${RUN} hf: a whole checkpoint folder, adapters merged; delta: only the tensors that changed; adapter: low-rank adapters in the format of PEFT; onnx: the whole decoder as one ONNX graph, verified by running it.`,
    options: {
      format: { value: 'hf|delta|adapter|onnx', help: 'what to write (default: hf)' },
      out: { value: 'DIR', help: 'the folder to create' },
      dtype: {
        value: 'source|F32|BF16|F16',
        help: 'type of the weights (default: source, as in the checkpoint; of onnx: F32)',
      },
    },
    load: async () => (await import('./export.ts')).exportRun,
  },
];
