import { expect, test } from 'vitest';
import { auditUnits, unitWords } from './unit-audit.ts';

/** Ten units, of which `loud` have peaks that refused requests raise by 5. */
const peaks = (...loud: readonly number[]) => ({
  refused: Float64Array.from({ length: 10 }, (_, unit) => 1 + 5 * Number(loud.includes(unit))),
  benign: new Float64Array(10).fill(1),
});

test('units that stand out are counted in both models, and their overlap', () => {
  const audit = auditUnits([peaks(3), peaks(7)], [peaks(3), peaks(1)]);
  expect(audit).toEqual({ units: 20, localisedBase: 2, localisedTuned: 2, jaccard: 1 / 3 });
  expect(unitWords([audit, null])[0]).toMatch(/2 of 20 units \(10\.0 %\).*2 \(10\.0 %\).*overlap by 0\.33/);
});

test('a model against itself overlaps wholly, and nothing stands out where nothing differs', () => {
  expect(auditUnits([peaks(2)], [peaks(2)])?.jaccard).toBe(1);
  expect(auditUnits([peaks()], [peaks()])).toEqual({
    units: 10,
    localisedBase: 0,
    localisedTuned: 0,
    jaccard: 1,
  });
  // Less than benign requests is no localisation.
  const { refused, benign } = peaks(4);
  expect(auditUnits([{ refused: benign, benign: refused }], [peaks()])?.localisedBase).toBe(0);
});

test('without profiled experts there is nothing to say', () => {
  expect(auditUnits([], [])).toBeNull();
  expect(unitWords([null])).toEqual([]);
});
