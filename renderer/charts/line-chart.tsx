/** Curves over steps, tokens or time: uPlot inside React, drawn in the page's colours. */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import './readable-language.ts';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { formatNumber } from '../ui/format.ts';
import { alignCurves, axisLabels, type Curve, niceCeil, niceRange } from './series.ts';
import { resolveColour, useShownTheme } from './theme-colours.ts';
import { useWidth } from './use-width.ts';
import './line-chart.css';

/** One curve and how it looks. */
export interface Line extends Curve {
  readonly key: string;
  readonly label: string;
  /** Colour token, e.g. `--s1`. */
  readonly colour: string;
  readonly width?: number;
  /** 0 to 1. */
  readonly alpha?: number;
  /** Small points on the line: for curves of few points. */
  readonly points?: boolean;
  /** Points instead of a line. */
  readonly dots?: boolean;
  /** Left out of the readout: it repeats another curve. */
  readonly silent?: boolean;
}

/** A vertical line with a reason. */
export interface Marker {
  readonly x: number;
  readonly label: string;
  readonly dashed: boolean;
}

const NONE: readonly Marker[] = [];

interface ChartProps {
  /** Spoken summary of the chart. */
  readonly label: string;
  readonly lines: readonly Line[];
  readonly xLabel: string;
  readonly formatX: (x: number) => string;
  readonly formatY?: (y: number) => string;
  readonly log?: boolean;
  readonly height?: number;
  /** Where the x axis ends at least. */
  readonly xEnd?: number;
  readonly markers?: readonly Marker[];
  /** The moment shown by the rest of the page. */
  readonly at?: number;
  readonly onPick?: (x: number) => void;
}

/** Value of `line` at the last of its points up to `x`. */
function valueAt(line: Line, x: number): number | undefined {
  let found: number | undefined;
  for (let i = 0; i < line.x.length && (line.x[i] ?? 0) <= x; i++) found = line.y[i] ?? found;
  return found;
}

function drawMarkers(
  plot: uPlot,
  markers: readonly Marker[],
  at: number | undefined,
  ink: string,
  muted: string,
): void {
  const { ctx, bbox } = plot;
  const vertical = (x: number, dash: number[], style: string) => {
    const px = Math.round(plot.valToPos(x, 'x', true)) + 0.5;
    if (px < bbox.left || px > bbox.left + bbox.width + 1) return;
    ctx.strokeStyle = style;
    ctx.setLineDash(dash);
    ctx.beginPath();
    ctx.moveTo(px, bbox.top);
    ctx.lineTo(px, bbox.top + bbox.height);
    ctx.stroke();
  };
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  for (const marker of markers) {
    if (marker.dashed) vertical(marker.x, [2 * devicePixelRatio, 3 * devicePixelRatio], muted);
    else {
      const px = plot.valToPos(marker.x, 'x', true);
      const size = 3.5 * devicePixelRatio;
      if (px < bbox.left - 1 || px > bbox.left + bbox.width + 1) continue;
      ctx.fillStyle = muted;
      ctx.beginPath();
      ctx.moveTo(px - size, bbox.top + bbox.height - 2 * size);
      ctx.lineTo(px + size, bbox.top + bbox.height - 2 * size);
      ctx.lineTo(px, bbox.top + bbox.height);
      ctx.fill();
    }
  }
  if (at !== undefined) vertical(at, [], ink);
  ctx.restore();
}

/** Distances of ticks on the lower axis: steps, tokens and seconds are whole, and short runs have few of them. */
const WHOLE_STEPS = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((n) => n * 10 ** power)).flat();

/** The chart. Its numbers are also in the table twin of its card, so for readers it is one picture with a summary. */
export function LineChart({
  label,
  lines,
  xLabel,
  formatX,
  formatY = formatNumber,
  log = false,
  height = 250,
  xEnd,
  markers = NONE,
  at,
  onPick,
}: ChartProps) {
  const [box, width] = useWidth();
  const target = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const theme = useShownTheme();
  const [pointed, setPointed] = useState<number>();
  const aligned = useMemo(() => alignCurves(lines), [lines]);
  const live = useRef({ markers, at, onPick, xEnd, formatX, formatY, aligned });
  useLayoutEffect(() => {
    live.current = { markers, at, onPick, xEnd, formatX, formatY, aligned };
  });
  const looks = JSON.stringify(
    lines.map(({ colour, width: w, alpha, dots, points }) => [colour, w, alpha, dots, points]),
  );

  useEffect(() => {
    const element = target.current;
    if (element === null || width === 0) return undefined;
    const colour = (token: string) => resolveColour(element, token);
    const [ink, muted, line, card] = [colour('--ink'), colour('--muted'), colour('--line'), colour('--card')];
    const font = `11px ${getComputedStyle(element).fontFamily}`;
    const axis = { stroke: muted, font, grid: { show: false }, ticks: { show: false } };
    const styles = JSON.parse(looks) as [
      string,
      number | undefined,
      number | undefined,
      boolean | undefined,
      boolean | undefined,
    ][];
    const chart = new uPlot(
      {
        width,
        height,
        legend: { show: false },
        cursor: { y: false, points: { size: 6, fill: card }, drag: { x: false, y: false } },
        scales: {
          x: {
            time: false,
            range: (_plot, low, high) => {
              const end = Math.max(high, live.current.xEnd ?? niceCeil(high));
              return [low > end * 0.25 ? low : 0, end > 0 ? end : 1];
            },
          },
          y: {
            // The type is a `const enum` without a value at run time: 3 is logarithmic.
            // oxlint-disable-next-line typescript/no-unsafe-enum-assignment
            distr: log ? 3 : 1,
            ...(!log && { range: (_plot: uPlot, low: number, high: number) => niceRange(low, high) }),
          },
        },
        axes: [
          {
            ...axis,
            size: 24,
            gap: 4,
            space: 64,
            incrs: WHOLE_STEPS,
            values: (_plot, ticks) => ticks.map((x) => live.current.formatX(x)),
          },
          {
            ...axis,
            size: (_plot, values) => 12 + 6.6 * Math.max(2, ...(values ?? []).map((text) => text.length)),
            gap: 6,
            grid: { show: true, stroke: line, width: 1 },
            values: (_plot, ticks) => axisLabels(ticks, log),
          },
        ],
        series: [
          {},
          ...styles.map(([token, strokeWidth, alpha, dots, points]): uPlot.Series => {
            const stroke = colour(token);
            return {
              stroke,
              width: strokeWidth ?? 1.5,
              alpha: alpha ?? 1,
              spanGaps: true,
              ...(dots
                ? { paths: () => null, points: { show: true, size: 7, fill: stroke, stroke: card, width: 1 } }
                : { points: { show: points ?? false, size: 4, fill: stroke, width: 0 } }),
            };
          }),
        ],
        hooks: {
          draw: [(self) => drawMarkers(self, live.current.markers, live.current.at, ink, muted)],
          setCursor: [
            (self) => {
              const index = self.cursor.idx;
              setPointed(
                typeof index === 'number' && (self.cursor.left ?? -1) >= 0 ? self.data[0][index] : undefined,
              );
            },
          ],
        },
      },
      [live.current.aligned.x, ...live.current.aligned.ys],
      element,
    );
    const pick = () => {
      const index = chart.cursor.idx;
      const x = typeof index === 'number' ? chart.data[0][index] : undefined;
      if (x !== undefined) live.current.onPick?.(x);
    };
    chart.over.addEventListener('click', pick);
    plot.current = chart;
    return () => {
      plot.current = undefined;
      chart.destroy();
    };
  }, [width, height, log, looks, theme]);

  useEffect(() => {
    plot.current?.setData([aligned.x, ...aligned.ys]);
  }, [aligned, xEnd]);
  useEffect(() => {
    plot.current?.redraw(false);
  }, [at, markers]);

  const shownX = pointed ?? at ?? aligned.x.at(-1);
  return (
    <figure className="line-chart">
      <div ref={box} style={{ height }} role="img" aria-label={label}>
        <div ref={target} className={onPick === undefined ? undefined : 'line-chart-pick'} />
      </div>
      <figcaption className="line-chart-legend num">
        <span>
          {xLabel} <b>{shownX === undefined ? '–' : formatX(shownX)}</b>
        </span>
        {lines
          .filter((line) => !line.silent)
          .map((line) => {
            const value = shownX === undefined ? undefined : valueAt(line, shownX);
            return (
              <span key={line.key}>
                <i
                  className={line.dots ? 'dot' : undefined}
                  style={{ background: `var(${line.colour})`, opacity: Math.max(0.45, line.alpha ?? 1) }}
                />
                {line.label} <b>{value === undefined ? '–' : formatY(value)}</b>
              </span>
            );
          })}
        {[...new Set(markers.map((marker) => (marker.dashed ? '┆ phase' : '▾ checkpoint')))].map((kind) => (
          <span key={kind} className="line-chart-kind">
            {kind}
          </span>
        ))}
      </figcaption>
    </figure>
  );
}
