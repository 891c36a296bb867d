/** Golden cases of kind `metrics`: statistics of the routing of a base and a tuned model, from stored router logits. */
import { join } from 'node:path';
import { z } from 'zod';
import { divergencesOf, loadMetrics, shares, type LoadMetrics } from '#core/load/load-metrics.ts';
import {
  DriftSum,
  OutputCosines,
  RoutingSum,
  coSelection_EE,
  cosines_EE,
  effectiveUpdates_E,
  expectedUpdates,
  starvation,
  type RoutingDrift,
  type TokenRouting,
} from '#core/report/index.ts';
import { topK } from '#worker/model/index.ts';
import { goldenBatch } from './golden-batch.ts';
import { GoldenTensors, type CaseDocument, type Check } from './golden-case.ts';

const Numbers = z.array(z.number());
const Load = z.record(z.string(), z.number());
const Side = z.object({
  tokens: z.int(),
  count: Numbers,
  count_completion_tokens: Numbers,
  activation_frequency: Numbers,
  gate_mass: Numbers,
  gate_share: Numbers,
  soft_usage: Numbers,
  load: Load,
  gate_mass_load: Load,
});
const MetricsCase = z.object({
  options: z.object({ topK: z.int() }),
  tolerances: z.object({ relative: z.number(), absolute: z.number() }),
  expected: z.object({
    layers: z.record(z.string(), z.object({ base: Side, tuned: Side, drift: Load, bias_drift: Load })),
    small_examples: z.object({
      load: z.object({ count: Numbers }).catchall(z.union([z.number(), Numbers])),
      share_divergence: Load,
      coactivation_phi: z.object({ columns: z.array(Numbers), phi: z.number() }),
      starvation: z.object({
        grad_norm: Numbers,
        median_bottom_half: z.number(),
        median_top_quarter: z.number(),
        ratio: z.number(),
        zero_grad_rate: z.number(),
      }),
      effective_updates: z.object({ tokens_per_step_and_expert: z.array(Numbers), updates: Numbers }),
      expected_updates: z.array(
        z.object({ p: z.number(), tokens_per_step: z.int(), steps: z.int(), value: z.number() }),
      ),
    }),
  }),
});

/** Load metrics under the names of the case. */
function namedLoad(load: LoadMetrics): Record<string, number> {
  return {
    gini: load.gini,
    entropy_normalised: load.entropyNormalised,
    effective_experts: load.effectiveExperts,
    cv: load.coefficientOfVariation,
    max_over_mean: load.maxOverMean,
    max_violation: load.maxOverMean - 1,
    tail_half_share: load.tailHalfShare,
    tail_quarter_share: load.tailQuarterShare,
    never_hit: load.dead,
    below_tenth_of_mean: load.belowTenthOfMean,
    experts_for_half_of_selections: load.expertsForHalf,
  };
}

function namedDrift(drift: RoutingDrift): Record<string, number> {
  return {
    kl_mean: drift.kl,
    js_mean: drift.js,
    tv_mean: drift.tv,
    top_k_jaccard_mean: drift.topKJaccard,
    top_1_flip_rate: drift.topOneFlipRate,
  };
}

/** Runs a `metrics` case. */
export function checkMetricsCase(dir: string, document: CaseDocument): Check[] {
  const { options, tolerances, expected } = MetricsCase.parse(document);
  const inputs = new GoldenTensors(join(dir, 'batch.safetensors'));
  const outputs = new GoldenTensors(join(dir, 'expected.safetensors'));
  const { segments, labels } = goldenBatch(inputs);
  const real = (token: number) => (segments[token] ?? 0) > 0;
  const completion = (token: number) => real(token) && labels[token] !== -100;
  const checks: Check[] = [];
  /** One check for a list of numbers: |Δ| ≤ absolute + relative · |expected|. */
  const check = (name: string, got: ArrayLike<number>, want: ArrayLike<number>) => {
    let [maxAbs, maxRel, ok] = [0, 0, got.length === want.length && want.length > 0];
    for (let i = 0; i < want.length; i++) {
      const difference = Math.abs((got[i] ?? NaN) - (want[i] ?? NaN));
      const size = Math.abs(want[i] ?? NaN);
      ok &&= difference <= tolerances.absolute + tolerances.relative * size;
      maxAbs = Math.max(maxAbs, difference);
      if (difference > 0) maxRel = Math.max(maxRel, difference / Math.max(size, 1e-30));
    }
    checks.push({ name, maxAbs, maxRel, limit: tolerances.absolute, ok });
  };
  /** The case decides which values are compared; one that it does not have is NaN here and fails. */
  const checkNamed = (name: string, got: Record<string, number>, want: Record<string, number>) => {
    for (const [key, value] of Object.entries(want)) check(`${name}.${key}`, [got[key] ?? NaN], [value]);
  };

  for (const [layer, { base, tuned, drift, bias_drift }] of Object.entries(expected.layers)) {
    const experts = base.count.length;
    const routingOf = (logits_NE: Float32Array): TokenRouting => ({
      logits_NE,
      chosen_NK: topK(logits_NE, logits_NE.length / experts, experts, options.topK),
      k: options.topK,
    });
    const statistics = (name: string, want: z.output<typeof Side>) => {
      const routing = routingOf(inputs.floats(`${name}.router_logits.${layer}`));
      const [all, completions] = [new RoutingSum(experts), new RoutingSum(experts)];
      all.add(routing, real);
      completions.add(routing, completion);
      const at = `${name}.${layer}`;
      check(`${at}.tokens`, [all.tokens], [want.tokens]);
      check(`${at}.count`, all.counts_E, want.count);
      check(`${at}.count_completion_tokens`, completions.counts_E, want.count_completion_tokens);
      check(`${at}.activation_frequency`, all.activationFrequency_E(), want.activation_frequency);
      check(`${at}.gate_mass`, all.mass_E, want.gate_mass);
      check(`${at}.gate_share`, shares(all.mass_E), want.gate_share);
      check(`${at}.soft_usage`, all.soft_E, want.soft_usage);
      checkNamed(`${at}.load`, namedLoad(loadMetrics(all.counts_E)), want.load);
      checkNamed(`${at}.gate_mass_load`, namedLoad(loadMetrics(all.mass_E)), want.gate_mass_load);
      return { routing, all };
    };
    const [before, after] = [statistics('base', base), statistics('tuned', tuned)];
    const between = new DriftSum(experts);
    between.add(before.routing, after.routing, real);
    const { kl, js, tv } = divergencesOf(shares(before.all.counts_E), shares(after.all.counts_E));
    const selection = { selection_share_kl: kl, selection_share_js: js, selection_share_tv: tv };
    checkNamed(`drift.${layer}`, { ...namedDrift(between.means()), ...selection }, drift);

    const bias_E = inputs.floats(`bias.${layer}`);
    const biased = routingOf(before.routing.logits_NE.map((z, at) => z + (bias_E[at % experts] as number)));
    const byBias = new DriftSum(experts);
    byBias.add(before.routing, biased, real);
    checkNamed(`bias_drift.${layer}`, namedDrift(byBias.means()), bias_drift);

    check(`coactivation.${layer}`, coSelection_EE(before.all), outputs.floats(`coactivation.${layer}`));
    const perToken = inputs.floats(`expert_outputs.${layer}`);
    const width = perToken.length / segments.length;
    const alike = new OutputCosines(experts);
    for (let token = 0; token < segments.length; token++)
      if (real(token)) alike.add(perToken.subarray(token * width, (token + 1) * width));
    check(`output_cosine.${layer}`, alike.mean_EE(), outputs.floats(`output_cosine.${layer}`));
    const down = inputs.floats(`down_proj.${layer}`);
    check(
      `down_proj_cosine.${layer}`,
      cosines_EE(down, experts),
      outputs.floats(`down_proj_cosine.${layer}`),
    );
  }

  const small = expected.small_examples;
  const { count, ...wantLoad } = small.load;
  checkNamed('worked.load', namedLoad(loadMetrics(count)), Load.parse(wantLoad));
  const [p, q] = [
    [0.5, 0.3, 0.15, 0.05],
    [0.4, 0.3, 0.2, 0.1],
  ] as const;
  checkNamed(
    'worked.share_divergence',
    divergencesOf(Float64Array.from(p), Float64Array.from(q)),
    small.share_divergence,
  );
  const [a = [], b = []] = small.coactivation_phi.columns;
  const dot = (x: readonly number[], y: readonly number[]) =>
    x.reduce((sum, v, i) => sum + v * (y[i] ?? 0), 0);
  const phi = coSelection_EE({
    experts: 2,
    tokens: a.length,
    counts_E: Float64Array.of(dot(a, a), dot(b, b)),
    together_EE: Float64Array.of(dot(a, a), dot(a, b), dot(b, a), dot(b, b)),
  });
  check('worked.phi', [phi[1] ?? NaN], [small.coactivation_phi.phi]);
  const { grad_norm, ...wantStarvation } = small.starvation;
  const starved = starvation(grad_norm);
  checkNamed(
    'worked.starvation',
    {
      median_bottom_half: starved?.medianBottomHalf ?? NaN,
      median_top_quarter: starved?.medianTopQuarter ?? NaN,
      ratio: starved?.ratio ?? NaN,
      zero_grad_rate: starved?.zeroGradientRate ?? NaN,
    },
    wantStarvation,
  );
  check(
    'worked.effective_updates',
    effectiveUpdates_E(small.effective_updates.tokens_per_step_and_expert),
    small.effective_updates.updates,
  );
  for (const { p: chance, tokens_per_step, steps, value } of small.expected_updates) {
    const name = `worked.expected_updates, p ${chance}, ${tokens_per_step} tokens a step`;
    check(name, [expectedUpdates(chance, tokens_per_step, steps)], [value]);
  }
  return checks;
}
