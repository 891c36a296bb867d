/** Runs of methods with routing of their own, exported as ONNX and run from the file. */
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { writeRandomModel } from '#worker/testing/index.ts';
import { condenser, makeSite, writeTokenizer, type Site } from './cli.fixture.ts';
import { largestDifference, logitsOfFile } from './onnx.fixture.ts';
import { openNamed } from './open-model.ts';
import { trainHere } from './train-here.fixture.ts';

let site: Site;
beforeAll(() => {
  site = makeSite();
});
afterAll(() => site.remove());

const inputIds = Int32Array.from({ length: 30 }, (_, i) => 2 + ((i * 31) % 190));

/** Logits that `generate` goes by. */
async function logitsOf(model: string): Promise<Float32Array> {
  const opened = await openNamed(model, undefined);
  try {
    const at = inputIds.map((_, i) => i);
    return (await opened.model.executor.logits(unpaddedBatch(inputIds, 3), at)).logits;
  } finally {
    opened.model.close();
  }
}

let runs = 0;

/** Trains the tiny model for four steps; the run directory. */
async function train(method: object, model = site.model): Promise<string> {
  const dir = path.join(site.dir, `run-${runs++}`);
  const data = { train: [{ path: site.data, mapping: { prompt: 'question', response: 'answer' } }] };
  const spec = parseRunSpec({
    model: { path: model },
    data: { ...data, maxLength: 16 },
    method,
    train: { steps: 4, microBatch: 2, gradientAccumulation: 1, learningRate: 0.02 },
    engine: { threads: 1 },
  });
  expect(await trainHere(dir, spec)).toEqual({ state: 'completed', step: 4 });
  return dir;
}

async function exported(run: string, ...options: readonly string[]) {
  const out = path.join(site.dir, `onnx-${runs++}`);
  const said = await condenser('export', run, '--format', 'onnx', '--out', out, '--json', ...options);
  expect(said.status, said.stdout + said.stderr).toBe(0);
  return { out, document: said.json()[0] ?? {} };
}

const condensers = { biasSpeed: 0.05, condensersPerLayer: 2 };
/** What inference does other than the checkpoint's own routing, or to its weights. */
const methods = {
  'condensers, chosen ones among them count once': ['expert-condenser', condensers],
  'condensers that count twice': ['expert-condenser', { ...condensers, overlap: 'double' }],
  'condensers in place of chosen ones': ['expert-condenser', { ...condensers, budget: 'replace' }],
  'the bias phase alone': ['expert-condenser', { phase: 'bias', biasSpeed: 0.05, biasInWeights: false }],
  'a bias that only chooses': ['loss-free-balancing', { biasSpeed: 0.1 }],
  'tables of experts': ['hash-routing', {}],
  'learnt tables': ['stablemoe', { stageSplit: 0.5, embeddingSize: 8 }],
  'default outputs in the value': ['default-moe', { defaultsIn: 'value' }],
  'the best expert alone': ['evomoe', { fewest: 'one' }],
  'one shared expert, which the run ends before': ['evomoe', { diversifyShare: 0.9 }],
  'a learned gate': ['transformed-gate', { activation: 'tanh', temperature: 0.3 }],
  'local experts': ['local-expert', { rank: 4, threshold: 0.45, trains: 'all' }],
  'outputs mixed with those of the base': ['local-expert', { rank: 4, mixture: 'output' }],
  'outputs mixed by a threshold': ['local-expert', { rank: 4, mixture: 'output', threshold: 0.5 }],
  'outputs of local experts alone': ['local-expert', { rank: 4, mixture: 'output', gate: 'none' }],
  'all experts in training': ['ds-moe', {}],
  'a dense gradient': ['densemixer', {}],
  'even assignment in training': ['base-assignment', {}],
  'low-rank adapters': ['lora', { rank: 3 }],
  'adapters with magnitudes': ['dora', { rank: 3 }],
  'sub-matrices': ['smt', { blockSize: 4, attentionShare: 0.05, mlpShare: 0.05 }],
  'several methods': [
    'compose',
    { methods: [{ name: 'loss-free-balancing', options: { biasSpeed: 0.1 } }, { name: 'frozen-router' }] },
  ],
} as const;

test.each(Object.entries(methods))('%s', { timeout: 30_000 }, async (_title, [name, options]) => {
  const run = await train({ name, options });
  const want = await logitsOf(run);
  const { out, document } = await exported(run);
  expect(largestDifference(logitsOfFile(out, inputIds, 3), want)).toBeLessThan(1e-4);
  expect(document['largestDifference']).toBeLessThan(1e-4);
  expect(document).toMatchObject({ rowsApart: 0 });
  expect(document['largestLogit']).toBeGreaterThan(0.1);
  expect(largestDifference(await logitsOf(site.model), want)).toBeGreaterThan(1e-3);
});

const sizes = {
  vocab_size: 199,
  hidden_size: 32,
  intermediate_size: 24,
  moe_intermediate_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_experts_per_tok: 2,
};
const latent = { q_lora_rank: 12, kv_lora_rank: 8, qk_nope_head_dim: 8, qk_rope_head_dim: 4, v_head_dim: 6 };
/** What configs may say besides, for all that their families have in common. */
const checkpoints = {
  qwen2_moe: {
    num_experts: 8,
    shared_expert_intermediate_size: 20,
    hidden_act: 'gelu',
    use_sliding_window: true,
    sliding_window: 4,
  },
  deepseek_v3: { n_routed_experts: 8, ...latent, attention_bias: true, hidden_act: 'relu2' },
  llama: {
    mlp_bias: true,
    hidden_act: 'gelu_pytorch_tanh',
    rope_scaling: { type: 'dynamic', factor: 2 },
    max_position_embeddings: 32,
  },
};

test.each(Object.entries(checkpoints))('options of a %s checkpoint', async (model_type, options) => {
  const model = path.join(site.dir, model_type);
  writeRandomModel(model, { model_type, ...sizes, ...options });
  writeTokenizer(model);
  const run = await train({ name: 'full' }, model);
  const want = await logitsOf(run);
  const { out, document } = await exported(run);
  expect(largestDifference(logitsOfFile(out, inputIds, 3), want)).toBeLessThan(1e-4);
  expect(document).toMatchObject({ rowsApart: 0 });
  expect(largestDifference(await logitsOf(model), want)).toBeGreaterThan(1e-3);
});

describe('a finished run', () => {
  let run = '';
  beforeAll(async () => {
    run = await train({ name: 'full', options: {} });
  });

  test('gives a folder with tokenizer and configuration, and says what running it showed', async () => {
    const out = path.join(site.dir, 'folder');
    const said = await condenser('export', run, '--format', 'onnx', '--out', out);
    expect(said.stdout).toMatch(
      /as onnx, 5 files, .* run by ONNX Runtime: logits of up to .* differ by at most/,
    );
    expect(readdirSync(out).sort()).toEqual([
      'config.json',
      'model.onnx',
      'model.onnx.data',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
  });

  test.each(['BF16', 'F16'])('stores matrices in half the room as %s, near the run', async (dtype) => {
    const whole = await exported(run);
    const half = await exported(run, '--dtype', dtype);
    const bytes = ({ out }: { readonly out: string }) => statSync(path.join(out, 'model.onnx.data')).size;
    expect(bytes(half)).toBeLessThan(0.6 * bytes(whole));
    // The engine computes with the same rounded weights; the run's own differ by as much as rounding costs.
    expect(half.document['largestDifference']).toBeLessThan(1e-4);
    const rounded = largestDifference(logitsOfFile(half.out, inputIds, 3), await logitsOf(run));
    expect(rounded).toBeGreaterThan(1e-4);
    expect(rounded).toBeLessThan(0.5);
  });
});

test.each(['F32', 'source'])('a checkpoint in bfloat16 is exported as %s', async (dtype) => {
  const base = path.join(site.dir, `half-${dtype}`);
  const first = await train({ name: 'full', options: {} });
  const said = await condenser('export', first, '--dtype', 'BF16', '--out', base);
  expect(said.status, said.stderr).toBe(0);
  const run = await train({ name: 'esft', options: { share: 0.3 } }, base);
  const { out, document } = await exported(run, '--dtype', dtype);
  expect(document['largestDifference']).toBeLessThan(1e-4);
  // What trained is rounded where the run is used: see `openModel`.
  const rounding = largestDifference(logitsOfFile(out, inputIds, 3), await logitsOf(run));
  expect(rounding).toBeLessThan(dtype === 'source' ? 1e-4 : 0.1);
});
