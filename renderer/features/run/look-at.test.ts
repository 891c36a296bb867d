import { expect, test } from 'vitest';
import { stepMetrics } from '../../api/fake-entries.ts';
import { layerStats, sumRouting } from '../../charts/routing-stats.ts';
import { lookAt } from './look-at.ts';

const quiet = { steps: [], evaluations: [], layers: [], layerNames: [0, 1] };
const texts = (input: Parameters<typeof lookAt>[0]) =>
  lookAt(input).map(({ tone, text }) => `${tone}: ${text}`);

function routed(counts: number[], layers: number, experts: number, startCounts?: number[]) {
  const make = (values: number[]) =>
    sumRouting([{ step: 1, counts_LE: Uint32Array.from(values) }], layers, experts);
  const window = make(counts);
  if (window === undefined) throw new Error('the counts do not fill the window');
  return { ...quiet, window, layers: layerStats(window, startCounts && make(startCounts)) };
}

test('nothing measured, nothing said', () => {
  expect(lookAt(quiet)).toEqual([]);
});

test('few experts with many tokens are named with their share', () => {
  const [first] = lookAt(routed([1, 1, 1, 1, 1, 1, 1, 33], 1, 8));
  expect(first).toMatchObject({
    tone: 'warn',
    text: 'Layer 0: 1 expert of 8 takes 82.5 % of the selections',
    action: { kind: 'expert', row: 0, expert: 7 },
  });
});

test('even use is good news', () => {
  expect(texts(routed([5, 5, 5, 5], 2, 2))).toEqual([
    'ok: Use of the experts is even; most uneven is layer 0',
  ]);
});

test('experts without tokens are listed by their decoder layer', () => {
  const found = lookAt({ ...routed([5, 5, 0, 10], 2, 2), layerNames: [1, 2] }).find(
    ({ key }) => key === 'dead',
  );
  expect(found).toMatchObject({ text: '1 expert got no token in this step', action: { row: 1, expert: 0 } });
  expect(found?.detail).toContain('layer 2 expert 0');
});

test('drift is measured against the first steps', () => {
  expect(texts(routed([9, 1], 1, 2, [1, 9]))).toContain('warn: Routing moved most in layer 0');
  expect(texts(routed([5, 5], 1, 2, [5, 5]))).toContain('ok: Routing stays near where it started');
});

test('validation loss that rises is a warning that leads to its best step', () => {
  const evaluation = (step: number, loss: number) => ({ step, loss, trainedTokens: 10 });
  const rising = { ...quiet, evaluations: [evaluation(0, 3), evaluation(50, 2), evaluation(100, 2.1)] };
  expect(lookAt(rising)[0]).toMatchObject({
    tone: 'warn',
    text: 'Validation loss rose from 2.000 at step 50 to 2.100',
    action: { kind: 'step', step: 50 },
  });
  expect(texts({ ...quiet, evaluations: [evaluation(0, 3), evaluation(50, 2)] })).toEqual([
    'ok: Validation loss is 2.000 at step 50',
  ]);
});

test('a gradient far above its median, and a loss that is not finite', () => {
  const steps = Array.from({ length: 30 }, (_, i) => stepMetrics(i));
  expect(lookAt({ ...quiet, steps })).toEqual([]);
  expect(texts({ ...quiet, steps: [...steps, stepMetrics(30, { gradNorm: 8 })] })).toEqual([
    'warn: Step 30: the gradient norm is 8.0 times its usual size',
  ]);
  expect(texts({ ...quiet, steps: [...steps, stepMetrics(30, { loss: Number.NaN })] })[0]).toBe(
    'bad: Step 30: the loss or the gradient is not a finite number',
  );
});
