/** Every command, in the order of help texts. */
import type { CommandSpec, OptionSpec } from './command.ts';
import { readingOptions, sampleOptions } from './sample-options.ts';

/** Options every command takes. */
export const commonOptions: Readonly<Record<string, OptionSpec>> = {
  home: {
    value: 'DIR',
    help: 'data folder (default: CONDENSER_HOME, else the system’s place for program data)',
  },
  json: { help: 'one JSON document on stdout and nothing else' },
  help: { help: 'show this help' },
};

const RUN = 'A RUN is a run directory, or the id of a run in the data folder.';

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
  {
    name: 'merge',
    usage: 'MODEL ADAPTER',
    arguments: [2, 2],
    summary: 'merge low-rank adapters into a model, and verify it by reading it back',
    details:
      'MODEL is a checkpoint folder, ADAPTER a folder with adapter_config.json and adapter_model.safetensors, in the format of PEFT.',
    options: {
      out: { value: 'DIR', help: 'the folder to create' },
      dtype: {
        value: 'source|F32|BF16|F16',
        help: 'type of the weights (default: source, as in the checkpoint)',
      },
      undo: { help: 'take LoRA adapters out of a model they were merged into' },
    },
    load: async () => (await import('./merge.ts')).merge,
  },
  {
    name: 'upcycle',
    usage: 'MODEL',
    arguments: [1, 1],
    summary: 'make a checkpoint with experts from a dense one: every expert starts as its MLP',
    details:
      'A Llama checkpoint becomes a Mixtral one, a Qwen3 checkpoint a Qwen3-MoE one. Tokenizer and all other weights are carried over.',
    options: {
      out: { value: 'DIR', help: 'the folder to create' },
      experts: { value: 'N', help: 'experts of a layer (default: 8)' },
      'top-k': { value: 'K', help: 'experts for a token (default: 2)' },
      every: { value: 'N', help: 'experts in every Nth layer only (Qwen3; default: 1)' },
      noise: { value: 'D', help: 'standard deviation of noise on every expert (default: 0)' },
      seed: { value: 'N', help: 'seed of routers and noise (default: 0)' },
      dtype: {
        value: 'source|F32|BF16|F16',
        help: 'type of the weights (default: source, as in the checkpoint)',
      },
    },
    load: async () => (await import('./upcycle.ts')).upcycle,
  },
  {
    name: 'prune',
    usage: 'MODEL',
    arguments: [1, 1],
    summary: 'score the neurons of all experts on your data, and write the checkpoint without the least',
    details:
      'structural: narrower experts, all of one width (scope expert); mask: zeros, shapes stay; ragged: the format of Less is MoE, for Qwen3-MoE. ' +
      'pruning_summary.json in the new folder lists what was dropped.',
    options: {
      out: { value: 'DIR', help: 'the folder to create' },
      ratio: { value: 'R', help: 'share of the neurons to drop (default: 0.25)' },
      score: {
        value: 'NAME',
        help: 'meanAbsGrad, fisher, taylor, magnitude, activation or random (default: meanAbsGrad)',
      },
      scope: {
        value: 'expert|layer|global',
        help: 'among which neurons the least are looked for (default: expert)',
      },
      layout: {
        value: 'structural|mask|ragged',
        help: 'how to write it (default: structural for scope expert, else mask)',
      },
      'least-width': { value: 'N', help: 'neurons that every expert keeps (default: 0)' },
      'per-hit': { help: 'divide scores by the samples that reached the expert, not by all' },
      ...sampleOptions,
      dtype: {
        value: 'source|F32|BF16|F16',
        help: 'type of the weights (default: source, as in the checkpoint)',
      },
    },
    load: async () => (await import('./prune.ts')).prune,
  },
  {
    name: 'fit-gate',
    usage: 'MODEL',
    arguments: [1, 1],
    summary: 'give local experts that count in full a gate, fitted on special and on general text',
    details:
      'MODEL is the export of a run of local-expert with gate "none". Gates are fitted on one half of the examples and measured on the other, where the threshold is chosen too. gate_fit.json in the new folder says what was measured.',
    options: {
      out: { value: 'DIR', help: 'the folder to create' },
      special: { value: 'FILE', multiple: true, help: 'text the local experts were trained for' },
      general: { value: 'FILE', multiple: true, help: 'text on which gates should stay closed' },
      margin: {
        value: 'NATS',
        help: 'how much better than the base local experts must be on a token of theirs (default: 0)',
      },
      allowed: {
        value: 'R',
        help: 'by what share of its loss general text may get worse (default: 0.001)',
      },
      tokens: { value: 'N', help: 'at most so many tokens of each kind to fit on (default: 4096)' },
      ...readingOptions,
    },
    load: async () => (await import('./fit-gate.ts')).fitGate,
  },
  {
    name: 'expert-study',
    usage: 'MODEL',
    arguments: [1, 1],
    summary: 'measure what a model loses without its least used experts, without retraining',
    details:
      'Experts of each layer are ranked on one half of the examples, by how often they are chosen, by their gate weight and by what they add; the loss is measured on the other half.',
    options: {
      keep: { value: 'P,P,…', help: 'percentages of experts to keep (default: 25,50,75,90,100)' },
      removal: {
        value: 'reroute|zero',
        help: 'tokens of a removed expert go elsewhere, or get nothing (default: reroute)',
      },
      ...sampleOptions,
    },
    load: async () => (await import('./expert-study.ts')).expertStudy,
  },
  {
    name: 'routing',
    usage: 'MODEL [TUNED]',
    arguments: [1, 2],
    summary:
      'measure how a model routes your data, how alike its experts are, and how far a tuned one drifted',
    details: 'MODEL and TUNED are checkpoint folders or runs. Drift is measured on the same tokens.',
    options: sampleOptions,
    load: async () => (await import('./routing.ts')).routing,
  },
  {
    name: 'audit',
    usage: 'BASE TUNED',
    arguments: [2, 2],
    summary: 'measure what tuning did to the routing of requests that the base model refuses',
    details:
      'BASE and TUNED are checkpoint folders or runs. Experts that refused requests use more than benign ones are profiled in both; only aggregates of layers are kept, in audit.json of a run, which reports show. Nothing is changed, and a clean audit is no certificate.',
    options: {
      refused: { value: 'FILE', help: 'questions an aligned model refuses, 100 or more' },
      benign: { value: 'FILE', help: 'benign questions of like length and topics, 100 or more' },
      column: { value: 'NAME', help: 'column of the question (default: question, prompt, instruction …)' },
      skip: { value: 'N', help: 'first tokens of a question to leave out (default: 3)' },
      answers: {
        value: 'N',
        help: 'let both models answer with up to N tokens and count refusals (default: 0, no answers)',
      },
      'max-length': { value: 'N', help: 'longest prompt in tokens (default: 2048)' },
      template: { value: 'auto|none', help: 'the checkpoint’s chat template, or none (default: auto)' },
      seed: { value: 'N', help: 'seed of permutations and halves (default: 0)' },
      out: { value: 'FILE', help: 'write the result as JSON too' },
    },
    load: async () => (await import('./audit.ts')).audit,
  },
  {
    name: 'parity',
    usage: 'CASE…',
    arguments: [1, Infinity],
    summary: 'compare with what reference implementations computed',
    details: 'A CASE is a folder with case.json, or a folder of such folders.',
    options: { provider: { value: 'cpu|webgpu', help: 'what computes (default: cpu)' } },
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
        value: 'stored|int8',
        help: 'how experts that do not train are held on the CPU (default: stored)',
      },
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
    load: async () => (await import('./bench.ts')).bench,
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
