import { useMemo } from 'react';
import { divergingScale, sequentialScale } from './colour-scales.ts';
import type { HeatCells, ScaleWords } from './heat-map-model.ts';
import { readThemeColours, useShownTheme } from './theme-colours.ts';

/** The colours of the heat map, what they stand for, and its marks. */
export function HeatLegend({ cells, words }: { readonly cells: HeatCells; readonly words: ScaleWords }) {
  const theme = useShownTheme();
  const ramp = useMemo(() => {
    // The page is in `theme` when this runs: the tokens are read from it.
    const scale =
      cells.scale === 'sequential'
        ? sequentialScale()
        : divergingScale(readThemeColours(document.body).diverging);
    const stops = Array.from(
      { length: 17 },
      (_, i) => `rgb(${(scale[Math.min(255, i * 16)] ?? [0, 0, 0]).join(' ')})`,
    );
    return `linear-gradient(to right, ${stops.join(', ')})`;
    // oxlint-disable-next-line react/exhaustive-deps -- the theme decides what the tokens are
  }, [cells.scale, theme]);
  return (
    <div className="heat-legend num">
      <span className="heat-ramp">
        {words[0]}
        <span className="heat-ramp-bar">
          <i style={{ background: ramp }} />
          <small>{words[1]}</small>
        </span>
        {words[2]}
      </span>
      {cells.condenser_LE.includes(1) && (
        <span>
          <i className="heat-mark" aria-hidden="true" />
          condenser
        </span>
      )}
      {cells.dead_LE.includes(1) && (
        <span>
          <i className="heat-mark dead" aria-hidden="true" />
          no token
        </span>
      )}
    </div>
  );
}
