import { expect, test } from 'vitest';
import { findingsOf } from './run-findings.ts';
import { type RunShape, runFixture } from './testing/run-fixture.ts';

/** Findings of a run with this shape, of one rule. */
const found = (rule: string, shape: RunShape) =>
  findingsOf(runFixture(shape)).filter((finding) => finding.rule === rule);
const uniform = () => 10;

test('a calm run has nothing to warn of', () => {
  const findings = findingsOf(
    runFixture({
      load: uniform,
      evaluations: [
        [50, 1.6],
        [100, 1.2],
      ],
    }),
  );
  expect(findings.map((finding) => [finding.rule, finding.severity])).toEqual([
    ['validation', 'good'],
    ['drift', 'good'],
  ]);
  expect(findings[0]?.text).toBe('Validation loss fell from 1.6 at step 50 to 1.2 at step 100.');
});

test('concentration: a sixteenth of the experts has three times its share', () => {
  const heavy = (share: number) => (_r: number, _n: number, l: number, e: number) =>
    l === 1 && e < 4 ? (share * 6000) / 4 : l === 1 ? ((1 - share) * 6000) / 60 : 100;
  expect(found('concentration', { experts: 64, load: heavy(0.41) })).toEqual([
    {
      rule: 'concentration',
      severity: 'warning',
      text: 'Layer 2 sends 41 % of its selections to 4 of 64 experts; uniform would be 6.3 %.',
      action: 'Compare with a run that balances the load, and keep whichever validates better.',
      layer: 2,
      expert: 0,
    },
  ]);
  expect(found('concentration', { experts: 64, load: heavy(0.18) })).toEqual([]);
});

test('dead experts are named with what uniform would be', () => {
  const load = (_r: number, _n: number, l: number, e: number) => (l === 0 && (e === 1 || e === 3) ? 0 : 30);
  const [finding, ...others] = found('dead-experts', { experts: 8, load });
  expect(others).toEqual([]);
  expect(finding?.text).toBe(
    'Layer 1: 2 of 8 experts (1 and 3) got no token in 2 recorded steps up to step 100; uniform would be 45 each.',
  );
  expect(finding).toMatchObject({ layer: 1, expert: 1 });
  const [condenser] = found('dead-experts', { experts: 8, load, condensers: [[1], []] });
  expect(condenser?.text).toContain('1 of 8 experts (3) got no token');
  const early = (r: number, _n: number, _l: number, e: number) => (r < 5 && e === 0 ? 0 : 30);
  expect(found('dead-experts', { load: early })).toEqual([]);
});

test('a change of Gini tells which way', () => {
  const rising = (r: number, n: number, l: number, e: number) =>
    l === 0 ? 100 + (e === 0 ? (600 * r) / n : 0) : 100;
  const [up] = found('gini-change', { load: rising });
  expect(up?.text).toMatch(
    /^Layer 1: the load became less even, Gini 0\.0\d+ in steps 1–6 and 0\.4\d in steps 95–100\.$/,
  );
  expect(up?.severity).toBe('warning');
  const [meant] = found('gini-change', {
    load: rising,
    spec: {
      method: { name: 'compose', options: { methods: [{ name: 'lora' }, { name: 'expert-condenser' }] } },
    },
  });
  expect(meant?.severity).toBe('info');
  expect(meant?.action).toMatch(/concentrate use on purpose/);
  const falling = (r: number, n: number, l: number, e: number) => rising(n - 1 - r, n, l, e);
  const [down] = found('gini-change', { load: falling });
  expect(down?.text).toContain('more even');
  expect(down?.severity).toBe('info');
  expect(
    found('gini-change', { load: (r, n, l, e) => 100 + (l === 0 && e === 0 ? (50 * r) / n : 0) }),
  ).toEqual([]);
});

test('drift names the layer that moved most and the median', () => {
  const load = (r: number, n: number, l: number, e: number) => (l === 2 && e < 2 && r > n / 2 ? 400 : 100);
  const [moved] = found('drift', { layers: 3, load });
  expect(moved?.text).toBe(
    'Routing moved most in layer 3: 0.051 nats (Jensen–Shannon) between steps 1–6 and steps 95–100; the median layer moved 0.',
  );
  expect(moved?.severity).toBe('info');
  expect(found('drift', { load, records: 1 })).toEqual([]);
});

test('overfitting compares the last validation with the lowest', () => {
  const [finding] = found('overfitting', {
    evaluations: [
      [20, 1.7],
      [60, 1.55],
      [100, 1.62],
    ],
  });
  expect(finding?.text).toBe('Validation loss is 1.62 at step 100, 4.5 % above its lowest, 1.55 at step 60.');
  expect(finding?.action).toContain('step 60');
  expect(finding?.step).toBe(60);
  expect(
    found('overfitting', {
      evaluations: [
        [60, 1.55],
        [100, 1.57],
      ],
    }),
  ).toEqual([]);
});

test('a loss that does not fall is told apart from one that rises', () => {
  const [flat] = found('not-learning', { loss: () => 2 });
  expect(flat?.text).toContain('a fall of only 0 %');
  expect(flat?.action).toContain('higher learning rate than 1e−5,');
  const [rise] = found('not-learning', { loss: (i, n) => 2 + i / n });
  expect(rise?.text).toMatch(/a rise of 4\d %/);
  expect(rise?.action).toContain('lower learning rate');
  expect(found('not-learning', { loss: (i, n) => 2 - (0.1 * i) / n })).toEqual([]);
  expect(found('not-learning', { loss: () => 2, steps: 19 })).toEqual([]);
});

test('clipping tells how often and the median norm', () => {
  const [finding] = found('clipping', { step: { gradNorm: 3.25 } });
  expect(finding?.text).toBe(
    '100 % of the steps had a gradient norm above the clipping limit of 1; the median norm is 3.25.',
  );
  expect(
    found('clipping', { step: { gradNorm: 3.25 }, spec: { train: { steps: 100, maxGradNorm: null } } }),
  ).toEqual([]);
  expect(found('clipping', { step: { gradNorm: 0.9 } })).toEqual([]);
});

test('the largest loss spike is named', () => {
  const [finding, ...others] = found('loss-spike', { loss: (i) => (i === 40 ? 3.2 : i === 70 ? 5 : 2) });
  expect(others).toEqual([]);
  expect(finding?.text).toBe('Loss jumped to 5 at step 71, 2.5 times the median of the 20 steps before.');
  expect(found('loss-spike', { loss: (i) => (i === 40 ? 2.9 : 2) })).toEqual([]);
});

test('a gradient far above its usual size is named while it is recent', () => {
  const run = runFixture({ steps: 60 });
  const spiked = (at: number) => {
    const steps = run.series.steps.map((row) => (row.step === at ? { ...row, gradNorm: 4 } : row));
    return findingsOf({ ...run, series: { ...run.series, steps } }).find(
      ({ rule }) => rule === 'gradient-spike',
    );
  };
  expect(spiked(58)).toMatchObject({
    severity: 'warning',
    step: 58,
    text: 'The gradient norm is 4 at step 58, 8 times the median of the last 60 steps.',
  });
  expect(spiked(55)).toBeUndefined();
});
