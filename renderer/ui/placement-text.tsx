import type { Placement } from '#core/contract/run.ts';
import { formatCount, plural } from './format.ts';

/** Where the operators of a step run, with a warning of those that should not be on the CPU. */
export function PlacementText({ placement }: { readonly placement: Placement }) {
  const { onAdapter, sizesOnCpu, leftToCpu } = placement;
  return (
    <>
      {plural(onAdapter, 'operator')} on the adapter, {formatCount(sizesOnCpu)} on the CPU that compute sizes
      {leftToCpu.length > 0 && (
        <span className="warn-ink">
          {' '}
          · left to the CPU:{' '}
          {leftToCpu.map(({ operator, count }) => `${formatCount(count)} × ${operator}`).join(', ')}
        </span>
      )}
    </>
  );
}
