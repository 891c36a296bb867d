/**
 * Makes `resources/sample`: a small OLMoE-layout checkpoint with its own tokenizer, trained from random weights with this
 * project's engine on generated text, and the data set of the demonstration.
 *
 *     node scripts/sample/make-sample.ts WORK [steps]
 *
 * WORK receives what lies between (random checkpoint, corpus, run). Everything is seeded; the result is the same on
 * the same kind of processor.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import { exportHfFolder, openModelFolder, writeSafetensors } from '#worker/checkpoint/index.ts';
import { familyOf } from '#worker/families/index.ts';
import { parametersOf } from '#worker/model/index.ts';
import { openTrainedWeights, train } from '#worker/train/index.ts';
import { trainTokenizer } from './byte-pair-encoding.ts';
import { generalExchanges, wordProblems, type Exchange } from './corpus.ts';
import { Draws } from './draws.ts';
import { randomWeights } from './random-weights.ts';

const SEED = 2026;
const VOCABULARY = 1024;
const SPECIAL = ['<|end|>', '<|pad|>', '<|user|>', '<|assistant|>', '<|system|>'];
const TEMPLATE =
  "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}";

const CONFIG = {
  architectures: ['OlmoeForCausalLM'],
  model_type: 'olmoe',
  vocab_size: VOCABULARY,
  hidden_size: 128,
  intermediate_size: 64,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  num_experts: 16,
  num_experts_per_tok: 2,
  norm_topk_prob: false,
  hidden_act: 'silu',
  attention_bias: false,
  clip_qkv: null,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  rope_scaling: null,
  max_position_embeddings: 1024,
  tie_word_embeddings: false,
  eos_token_id: 0,
  pad_token_id: 1,
  output_router_logits: false,
  router_aux_loss_coef: 0.01,
  torch_dtype: 'float32',
};

function writeLines(path: string, rows: readonly unknown[]): void {
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

/** Exchanges as rows of a data set. */
const asRows = (exchanges: readonly Exchange[]) =>
  exchanges.map(({ prompt, response }) => ({ prompt, response }));

const [work, stepsText = '700'] = process.argv.slice(2);
if (work === undefined) {
  console.error('usage: node scripts/sample/make-sample.ts WORK [steps]');
  process.exit(2);
}
const out = join(import.meta.dirname, '../../resources/sample');
const randomDir = join(work, 'random');
const runDir = join(work, 'run');
rmSync(work, { recursive: true, force: true });
for (const dir of [randomDir, runDir, join(out, 'data')]) mkdirSync(dir, { recursive: true });

const general = generalExchanges(new Draws(SEED, 1), 24_000);
// A few word problems, so that the tokenizer and the model have met their words; the fine-tuning set is another draw.
const hints = wordProblems(new Draws(SEED, 2), 600);
const corpus = [...general, ...hints];
writeLines(join(work, 'corpus.jsonl'), asRows(corpus));
const text = corpus.map(({ prompt, response }) => `${prompt}\n${response}\n`).join('');
writeFileSync(join(randomDir, 'tokenizer.json'), JSON.stringify(trainTokenizer(text, SPECIAL, VOCABULARY)));
writeFileSync(
  join(randomDir, 'tokenizer_config.json'),
  `${JSON.stringify({ tokenizer_class: 'PreTrainedTokenizerFast', eos_token: '<|end|>', pad_token: '<|pad|>', model_max_length: 1024, chat_template: TEMPLATE }, null, 2)}\n`,
);
writeFileSync(join(randomDir, 'config.json'), `${JSON.stringify(CONFIG, null, 2)}\n`);
const family = familyOf(CONFIG);
const plan = family.plan(CONFIG);
writeSafetensors(join(randomDir, 'model.safetensors'), randomWeights(family, plan, SEED), {
  metadata: { format: 'pt' },
});

const spec = parseRunSpec({
  name: 'sample model',
  model: { path: randomDir },
  data: {
    train: [{ path: join(work, 'corpus.jsonl') }],
    validation: { fraction: 0.02 },
    maxLength: 256,
    packing: true,
    lossOn: 'all',
  },
  method: { name: 'full', options: { auxLossCoefficient: 0.005, zLossCoefficient: 0.0001 } },
  train: {
    steps: Number(stepsText),
    microBatch: 8,
    gradientAccumulation: 1,
    learningRate: 2e-3,
    warmupRatio: 0.05,
    minLearningRateRatio: 0.05,
    optimizer: { betas: [0.9, 0.95], weightDecay: 0.05 },
    seed: SEED,
  },
  evaluate: { everySteps: 250 },
  checkpoint: { everySteps: 500, keep: 1 },
  // The matrices are too small for a second thread, and one thread gives the same bytes on every machine.
  engine: { threads: 1 },
});
await train({
  spec,
  runDir,
  cacheDir: join(work, 'cache'),
  resume: false,
  control: { next: () => 'continue' },
  observer: {
    prepared: (facts) => console.log(`${facts.totalParameters} parameters, ${facts.trainRows} examples`),
    step: (m) => {
      if (m.step % 50 === 0)
        console.log(
          `step ${m.step} loss ${m.loss.toFixed(4)} aux ${m.auxLoss?.toFixed(3)} ${m.tokensPerSecond.toFixed(0)} tok/s`,
        );
    },
    evaluation: (e) => console.log(`validation ${e.step}: ${e.loss.toFixed(4)}`),
    placed: () => undefined,
    checkpoint: () => undefined,
    event: (_kind, step, message) => console.log(`${step}: ${message}`),
    progress: () => undefined,
  },
});

const source = await openModelFolder(randomDir);
const trained = openTrainedWeights(runDir);
const shapes = new Map(parametersOf(plan).map((parameter) => [parameter.id, parameter]));
const tensors = new Map(
  trained.ids.map((id) => {
    const parameter = shapes.get(id);
    if (parameter === undefined) throw new Error(`unknown parameter ${id}`);
    return [
      family.stored(parameter, plan)[0]?.name ?? '',
      { shape: parameter.shape, data: () => trained.read(id) },
    ] as const;
  }),
);
rmSync(join(out, 'sample-moe'), { recursive: true, force: true });
await exportHfFolder({ source, out: join(out, 'sample-moe'), tensors, dtype: 'BF16' });
trained.close();
source.close();
writeLines(join(out, 'data', 'word-problems.jsonl'), asRows(wordProblems(new Draws(SEED, 3), 1200)));
console.log(`wrote ${out}`);
