/** The commands that make checkpoints from checkpoints, and measure how they route. */
import type { CommandSpec } from './command.ts';
import { readingOptions, sampleOptions } from './sample-options.ts';

/** In the order of help texts. */
export const checkpointCommands: readonly CommandSpec[] = [
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
];
