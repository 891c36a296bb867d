import { useMemo } from 'react';
import { formatNumber, formatShare } from '../ui/format.ts';
import { divergingScale, sequentialScale } from './colour-scales.ts';
import type { HeatModel } from './heat-map-model.ts';
import { readThemeColours, useShownTheme } from './theme-colours.ts';

/** The colours of the heat map, what they stand for, and its marks. */
export function HeatLegend({ model }: { readonly model: HeatModel }) {
  const theme = useShownTheme();
  const ramp = useMemo(() => {
    // The page is in `theme` when this runs: the tokens are read from it.
    const scale =
      model.scale === 'sequential'
        ? sequentialScale()
        : divergingScale(readThemeColours(document.body).diverging);
    const stops = Array.from(
      { length: 17 },
      (_, i) => `rgb(${(scale[Math.min(255, i * 16)] ?? [0, 0, 0]).join(' ')})`,
    );
    return `linear-gradient(to right, ${stops.join(', ')})`;
    // oxlint-disable-next-line react/exhaustive-deps -- the theme decides what the tokens are
  }, [model.scale, theme]);
  const { quantity, limit } = model;
  const words = {
    load: ['≤ ¼', 'uniform', '≥ 4 ×'],
    bias: [`−${formatNumber(limit, 2)}`, '0', `+${formatNumber(limit, 2)}`],
    mass: ['0', '', `${formatShare(limit)} of the layer`],
  }[quantity];
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
      {model.condenser_LE.includes(1) && (
        <span>
          <i className="heat-mark" aria-hidden="true" />
          condenser
        </span>
      )}
      {model.dead_LE.includes(1) && (
        <span>
          <i className="heat-mark dead" aria-hidden="true" />
          no token
        </span>
      )}
    </div>
  );
}
