import {
  denseStage,
  expertGroupStage,
  expertStage,
  gateStage,
  labelStage,
  localExpertStage,
  logSumExpStage,
  lossStage,
  outputNormStage,
  plainRouting,
  routerStage,
  sharedStage,
  tokenRouterStage,
  type DecoderPlan,
  type LayerPlan,
  type MoePlan,
} from '#worker/model/index.ts';
import {
  denseWeights,
  dressed,
  expertWeights,
  float32,
  layer,
  layerNorm,
  moe,
  sharedWeights,
  testStages,
  type StageCase,
} from './gradcheck-stages.fixture.ts';

/** The real stages of a decoder but attention, small: gradients of whole graphs, not of single ops. */

const unbiased: LayerPlan = { ...layer, postAttentionNorm: { kind: 'layer', epsilon: 1e-5 } };
const sparseMixer: MoePlan = {
  ...moe,
  router: { scoring: 'softmax', normalise: false, sparseMixer: 0.4 },
};
const sigmoidRouter: MoePlan['router'] = {
  scoring: 'sigmoid',
  normalise: true,
  scale: 2.5,
  bias: true,
  selectionBias: true,
};
const sigmoidMoe: MoePlan = { ...moe, router: sigmoidRouter };
const plan: DecoderPlan = {
  family: 'test',
  vocabularySize: 7,
  hiddenSize: 8,
  maxPositions: 8,
  paddingId: null,
  endIds: [],
  layers: [layer],
  finalNorm: { kind: 'rms', epsilon: 1e-5 },
  tiedHead: false,
  publishedAuxCoefficient: null,
};

testStages([
  [
    'dense layer',
    denseStage({ ...layer, feedForward: { kind: 'dense', intermediate: 6 } }, 8, float32),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', 'postAttentionNorm', ...denseWeights] },
  ],
  [
    'dense layer with a norm on its output',
    denseStage({ ...dressed, feedForward: { kind: 'dense', intermediate: 6 } }, 8, float32),
    {
      shapes: { N: 5 },
      outputs: ['out'],
      wrt: ['h', 'postAttentionNorm', ...denseWeights, 'feedForwardOutputNorm'],
    },
  ],
  [
    'dense layer beside the attention',
    denseStage({ ...unbiased, parallel: true, feedForward: { kind: 'dense', intermediate: 6 } }, 8, float32),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', 'base', 'postAttentionNorm', ...denseWeights] },
  ],
  [
    'dense layer with biases and a scaled residual',
    denseStage({ ...dressed, feedForward: { kind: 'dense', intermediate: 6, biases: true } }, 8, float32),
    {
      shapes: { N: 5 },
      outputs: ['out'],
      wrt: ['h', ...denseWeights, 'denseGateBias', 'denseUpBias', 'denseDownBias'],
    },
  ],
  ...(['gelu', 'gelu-tanh', 'quick-gelu', 'relu', 'relu-squared'] as const).map((kind): StageCase => [
    `expert with ${kind}`,
    expertStage({ ...moe, activation: { kind } }, 8, float32),
    { shapes: { n: 5 }, outputs: ['y'], wrt: ['x', 'weight', ...expertWeights] },
  ]),
  [
    'shared expert',
    sharedStage(
      { ...layer, feedForward: { ...moe, shared: { intermediate: 6, gated: false, scale: 0.5 } } },
      8,
      float32,
    ),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', 'x', ...sharedWeights] },
  ],
  [
    'shared expert behind a gate',
    sharedStage(
      { ...dressed, feedForward: { ...moe, shared: { intermediate: 6, gated: true } } },
      8,
      float32,
    ),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', 'x', ...sharedWeights, 'sharedMix'] },
  ],
  ...[false, true].map((gated): StageCase => [
    gated ? 'local expert behind a gate' : 'local expert',
    localExpertStage(
      dressed,
      8,
      { mixture: 'residual', rank: 3, scale: 1.5, gated, threshold: null },
      'training',
    ),
    {
      shapes: { N: 5 },
      outputs: ['y'],
      wrt: ['x', 'localDown', 'localUp', ...(gated ? ['localGate', 'localGateBias'] : [])],
    },
  ]),
  [
    'token router of tokens with one or two choices',
    tokenRouterStage(4, 3),
    {
      shapes: { n: 3 },
      wrt: ['rows', 'tokenCentroids'],
      values: { targets: [0, 1, 0, 0, 0.5, 0, 0, 0.5, 0, 0.5, 0.5, 0] },
    },
  ],
  [
    'norm on the output of the experts',
    outputNormStage(dressed, 8, float32),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', 'mix', 'feedForwardOutputNorm'] },
  ],
  [
    'expert with a clamped activation, biases and a scaled residual',
    expertStage(
      { ...moe, activation: { kind: 'clamped', alpha: 1.702, limit: 0.7 }, expertBiases: true },
      8,
      float32,
      0.3,
    ),
    {
      shapes: { n: 5 },
      outputs: ['y'],
      wrt: ['x', 'weight', ...expertWeights, 'expertGateBias', 'expertUpBias', 'expertDownBias'],
    },
  ],
  [
    'router with biases',
    routerStage({ ...layer, feedForward: sigmoidMoe }, 8, plainRouting([sigmoidMoe]), float32),
    { shapes: { N: 5 }, outputs: ['x', 'logits'], wrt: ['h', 'postAttentionNorm', 'router', 'routerBias'] },
  ],
  [
    'router behind a LayerNorm without bias',
    routerStage(unbiased, 8, plainRouting([moe]), float32),
    { shapes: { N: 5 }, outputs: ['x', 'logits'], wrt: ['h', 'postAttentionNorm', 'router'] },
  ],
  [
    'router on a hidden state without a norm',
    routerStage({ ...layer, postAttentionNorm: null }, 8, plainRouting([moe]), float32),
    { shapes: { N: 5 }, outputs: ['x', 'logits'], wrt: ['h', 'router'] },
  ],
  [
    'gate of sigmoid scores',
    gateStage({ ...layer, feedForward: sigmoidMoe }, plainRouting([sigmoidMoe]), false),
    {
      shapes: { N: 3 },
      wrt: ['logits'],
      values: { multiplicity: [1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0] },
    },
  ],
  [
    'gate of sigmoid scores with auxiliary losses',
    gateStage({ ...layer, feedForward: sigmoidMoe }, plainRouting([sigmoidMoe]), true),
    {
      shapes: { N: 3 },
      outputs: ['weights', 'probabilities', 'logSumExp'],
      wrt: ['logits'],
      values: { multiplicity: [1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0] },
    },
  ],
  [
    'gate of SparseMixer',
    gateStage({ ...layer, feedForward: sparseMixer }, plainRouting([sparseMixer]), false),
    {
      shapes: { N: 3 },
      wrt: ['logits'],
      values: {
        logits: [1, 0.9, 0.7, -2, 0.2, 0.25, 0.3, 0.1, -1, -1.2, -0.9, -1.1],
        multiplicity: [1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 1, 0],
      },
    },
  ],
  [
    'expert',
    expertStage(moe, 8, float32),
    { shapes: { n: 5 }, outputs: ['y'], wrt: ['x', 'weight', 'expertGate', 'expertUp', 'expertDown'] },
  ],
  [
    'experts side by side, one of them without tokens',
    expertGroupStage(moe, 8, [float32, float32, float32]),
    {
      shapes: { 'n.0': 3, 'n.1': 0, 'n.2': 2 },
      outputs: ['y.0', 'y.1', 'y.2'],
      wrt: [0, 2].flatMap((at) => ['x', 'weight', ...expertWeights].map((name) => `${name}.${at}`)),
    },
  ],
  [
    'router',
    routerStage(layer, 8, plainRouting([moe]), float32),
    { shapes: { N: 5 }, outputs: ['x', 'logits'], wrt: ['h', 'postAttentionNorm', 'router'] },
  ],
  [
    'gate',
    gateStage(layer, plainRouting([moe]), true),
    {
      shapes: { N: 3 },
      wrt: ['logits'],
      values: { multiplicity: [1, 0, 1, 0, 0, 2, 0, 1, 1, 1, 0, 0] },
    },
  ],
  [
    'final norm, head and loss',
    lossStage(plan, float32),
    { shapes: { n: 3 }, wrt: ['h', 'finalNorm', 'head'], values: { labels: [0, 6, 6] } },
  ],
  [
    'final LayerNorm, head with a bias and loss',
    lossStage({ ...plan, finalNorm: layerNorm, headBias: true, logitScale: 0.5 }, float32),
    {
      shapes: { n: 3 },
      wrt: ['h', 'finalNorm', 'finalNormBias', 'head', 'headBias'],
      values: { labels: [0, 6, 6] },
    },
  ],
  [
    'sum over a slice of the head',
    logSumExpStage({ ...plan, finalNorm: layerNorm, headBias: true, logitScale: 0.5 }, float32),
    { shapes: { n: 3, v: 4 }, wrt: ['h'] },
  ],
  [
    'logits of labels',
    labelStage({ ...plan, finalNorm: layerNorm, headBias: true, logitScale: 0.5 }, float32),
    { shapes: { n: 3 }, wrt: ['h'] },
  ],
]);
