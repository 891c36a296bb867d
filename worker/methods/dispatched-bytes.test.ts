/**
 * What a layer sends between devices that share its experts evenly and hold a copy of the condensers each:
 * tokens × experts they are sent to × hidden × bytes × (devices − 1) / devices. The published measurement of it (ExpertCondenser,
 * eight devices) tells which experts count as chosen, which as always there.
 */
import { expect, test } from 'vitest';
import { familyOf } from '#worker/families/index.ts';
import type { MethodContext } from '#worker/model/index.ts';
import { contextOf } from './f0.fixture.ts';
import { startMethod } from './index.ts';

const DEVICES = 8;
const TOKENS_OF_A_DEVICE = 4096;
const HIDDEN = 2048;
const EXPERTS = 64;
const BYTES = 2;
const BIAS = Array.from({ length: EXPERTS }, (_, expert) => expert / EXPERTS);

const context: MethodContext = {
  ...contextOf(2),
  plan: familyOf({ model_type: 'olmoe' }).plan({
    vocab_size: 4,
    hidden_size: HIDDEN,
    intermediate_size: 1408,
    num_hidden_layers: 1,
    num_attention_heads: 16,
    num_experts: EXPERTS,
    num_experts_per_tok: 4,
  }),
  readBias: () => [BIAS],
};
const condensers = { phase: 'condensers', condensersPerLayer: 2, biasFile: 'bias.json' };

test.each([
  { method: 'full', options: {}, megabytes: 469.8 },
  { method: 'densemixer', options: {}, megabytes: 7516.2 },
  { method: 'expert-condenser', options: { ...condensers, budget: 'replace' }, megabytes: 234.9 },
  { method: 'expert-condenser', options: { ...condensers, budget: 'add' }, megabytes: 469.8 },
])('$method $options.budget: $megabytes MB', ({ method, options, megabytes }) => {
  const { routing } = startMethod(method, options, context);
  // Scores of one token: which experts it is sent to matters, not how often each is.
  const scores_NE = Float32Array.from(
    { length: EXPERTS },
    (_, expert) => ((expert * 37) % EXPERTS) / EXPERTS,
  );
  const { chosen_NK } = routing.choose(scores_NE, Int32Array.of(1), 0);
  const everyExpertComputes = routing.dense?.standIn.kind === 'output';
  const sentTo = everyExpertComputes ? EXPERTS : chosen_NK.filter((expert) => expert >= 0).length;
  const bytes = (DEVICES * TOKENS_OF_A_DEVICE * sentTo * HIDDEN * BYTES * (DEVICES - 1)) / DEVICES;
  expect(bytes / 1e6).toBeCloseTo(megabytes, 1);
});
