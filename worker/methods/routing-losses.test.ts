import { describe, expect, test } from 'vitest';
import type { LayerRouting, RoutingLoss } from '#worker/model/index.ts';
import {
  baseRoutingLoss,
  loadBalancingLoss,
  mutualInformationLoss,
  sequenceBalancingLoss,
  zLoss,
} from './routing-losses.ts';

/** A layer from probabilities and selections of its experts. */
function layerOf(
  probabilities: readonly (readonly number[])[],
  counts: readonly number[],
  options: { readonly mask?: readonly number[]; readonly logSumExp?: readonly number[] } = {},
): LayerRouting {
  const tokens = probabilities.length;
  return {
    tokens,
    experts: counts.length,
    mask_N: Uint8Array.from(options.mask ?? new Array<number>(tokens).fill(1)),
    probabilities_NE: Float32Array.from(probabilities.flat()),
    logSumExp_N: Float32Array.from(options.logSumExp ?? new Array<number>(tokens).fill(0)),
    counts_E: Uint32Array.from(counts),
    rows: 1,
    choice: {
      chosen_NK: Int32Array.from(counts.flatMap((count, e) => new Array<number>(count).fill(e))),
      k: 1,
      always: [],
      overlap: 'union',
    },
    weights_NE: Float32Array.from(probabilities.flat()),
    multiplicity_NE: Float32Array.from(probabilities.flat(), () => 1),
  };
}

const probabilities = [
  [0.524185, 0.317934, 0.157881],
  [0.281408, 0.463963, 0.254629],
];
const pads = [0.9, 0.05, 0.05];

describe('load balancing', () => {
  const pooled = loadBalancingLoss(1, 'pooled', 'mean');

  test('worked values', () => {
    expect(pooled.evaluate([layerOf(probabilities, [1, 1, 0])]).value).toBeCloseTo(1.190618, 5);
    expect(pooled.evaluate([layerOf(probabilities, [2, 2, 0])]).value).toBeCloseTo(2.381235, 5);
  });

  test('opposite imbalances of two layers cancel when pooled', () => {
    const layers = [layerOf([[0.9, 0.1]], [1, 0]), layerOf([[0.1, 0.9]], [0, 1])];
    expect(pooled.evaluate(layers).value).toBeCloseTo(1, 6);
    expect(loadBalancingLoss(1, 'perLayer', 'mean').evaluate(layers).value).toBeCloseTo(1.8, 6);
  });

  test('padding does not count', () => {
    const padded = layerOf([...probabilities, pads], [1, 1, 0], { mask: [1, 1, 0] });
    const { value, gradients } = pooled.evaluate([padded]);
    expect(value).toBeCloseTo(1.190618, 5);
    expect([...(gradients[0]?.probabilities_NE ?? [])].slice(6)).toEqual([0, 0, 0]);
  });

  test.each(['pooled', 'perLayer'] as const)('gradient by differences, %s', (pooling) => {
    const layers = [layerOf(probabilities, [2, 1, 1]), layerOf(probabilities.toReversed(), [0, 1, 3])];
    expectGradient(loadBalancingLoss(1, pooling, 'mean'), layers, 'probabilities_NE');
  });
});

describe('router z-loss', () => {
  const loss = zLoss(1, 'mean');
  const logSumExp = [1.545911, 1.46795];

  test('worked value, padding left out', () => {
    expect(loss.evaluate([layerOf(probabilities, [1, 1, 0], { logSumExp })]).value).toBeCloseTo(2.272359, 5);
    const padded = layerOf([...probabilities, pads], [1, 1, 0], {
      logSumExp: [...logSumExp, 50],
      mask: [1, 1, 0],
    });
    const { value, gradients } = loss.evaluate([padded]);
    expect(value).toBeCloseTo(2.272359, 5);
    expect(gradients[0]?.logSumExp_N?.[2]).toBe(0);
  });

  test('gradient by differences over two layers', () => {
    const layers = [
      layerOf(probabilities, [1, 1, 0], { logSumExp }),
      layerOf(probabilities, [1, 1, 0], { logSumExp: [0.2, -1] }),
    ];
    expectGradient(loss, layers, 'logSumExp_N');
  });
});

describe('KL to base routing', () => {
  const loss = baseRoutingLoss(1, 'mean');
  const withBase = (layer: LayerRouting, base: readonly (readonly number[])[]): LayerRouting => ({
    ...layer,
    baseProbabilities_NE: Float32Array.from(base.flat()),
  });

  test('worked value, mean over layers, padding left out; nothing where routing is as it was', () => {
    const now = layerOf([[0.3, 0.4, 0.3], pads], [1, 0, 0], { mask: [1, 0] });
    const moved = withBase(now, [[0.5, 0.3, 0.2], [0, 0, 1]]); // prettier-ignore
    expect(loss.evaluate([moved]).value).toBeCloseTo(0.088015, 6);
    const { value, gradients } = loss.evaluate([
      moved,
      withBase(layerOf(probabilities, [1, 1, 0]), probabilities),
    ]);
    expect(value).toBeCloseTo(0.088015 / 2, 6);
    expect([...(gradients[0]?.probabilities_NE ?? [])].slice(3)).toEqual([0, 0, 0]);
  });

  test('a probability that underflowed leaves numbers', () => {
    const { value, gradients } = loss.evaluate([withBase(layerOf([[1, 0]], [1, 0]), [[0.5, 0.5]])]);
    expect([value, ...(gradients[0]?.probabilities_NE ?? [])].every(Number.isFinite)).toBe(true);
  });

  test('gradient by differences over two layers', () => {
    const layers = [
      withBase(layerOf(probabilities, [1, 1, 0]), probabilities.toReversed()),
      withBase(layerOf([...probabilities, pads].toReversed(), [1, 1, 1]), [...probabilities, pads]),
    ];
    expectGradient(loss, layers, 'probabilities_NE', 2 ** -12);
  });
});

describe('mutual information', () => {
  const loss = mutualInformationLoss(1, 'mean');

  test('worked value, mean over layers, padding left out', () => {
    expect(loss.evaluate([layerOf(probabilities, [1, 1, 0])]).value).toBeCloseTo(1.027883 - 1.059046, 5);
    const padded = layerOf([...probabilities, pads], [1, 1, 0], { mask: [1, 1, 0] });
    const { value, gradients } = loss.evaluate([padded, layerOf([[0.5, 0.5, 0]], [1, 0, 0])]);
    // One token alone tells nothing: its entropy is that of the mean.
    expect(value).toBeCloseTo(-0.031163 / 2, 5);
    expect([...(gradients[0]?.probabilities_NE ?? [])].slice(6)).toEqual([0, 0, 0]);
  });

  test('two sure tokens on different experts reach the least value', () => {
    const layer = layerOf([[1, 0], [0, 1]], [1, 1]); // prettier-ignore
    const { value, gradients } = loss.evaluate([layer]);
    expect(value).toBeCloseTo(-Math.log(2), 6);
    expect(gradients[0]?.probabilities_NE?.every(Number.isFinite)).toBe(true);
  });

  test('gradient by differences over two layers', () => {
    const layers = [
      layerOf(probabilities, [1, 1, 0]),
      layerOf([...probabilities, pads].toReversed(), [1, 1, 1]),
    ];
    expectGradient(loss, layers, 'probabilities_NE', 2 ** -10);
  });
});

/**
 * Compares each entry of the gradient with a central difference; where the loss is at most quadratic, the step may be large.
 */
function expectGradient(
  loss: RoutingLoss,
  layers: readonly LayerRouting[],
  field: 'probabilities_NE' | 'logSumExp_N',
  by = 0.25,
): void {
  const { gradients } = loss.evaluate(layers);
  layers.forEach((layer, l) => {
    layer[field].forEach((value, i) => {
      const shifted = (step: number) =>
        loss.evaluate(
          layers.map((other, o) => {
            if (o !== l) return other;
            const moved = layer[field].slice();
            moved[i] = value + step;
            return { ...other, [field]: moved };
          }),
        ).value;
      expect(gradients[l]?.[field]?.[i]).toBeCloseTo((shifted(by) - shifted(-by)) / (2 * by), 4);
    });
  });
}

test('sequence-wise balancing looks at each row by itself, and adds layers up', () => {
  const loss = sequenceBalancingLoss(1, 'sum');
  const layer = layerOf(probabilities, [1, 1, 0]);
  expect(loss.evaluate([layer]).value).toBeCloseTo(1.190618, 5);
  expect(loss.evaluate([layer, layer]).value).toBeCloseTo(2 * 1.190618, 5);
  // In rows of one token each the chosen expert carries all of the load.
  const apart = loss.evaluate([{ ...layer, rows: 2 }]);
  expect(apart.value).toBeCloseTo((3 * (0.524185 + 0.463963)) / 2, 5);
  expect([...(apart.gradients[0]?.probabilities_NE ?? [])]).toEqual([1.5, 0, 0, 0, 1.5, 0]);
});
