/** Layer × expert heat map: a canvas under a real grid, reachable by arrow keys and read out cell by cell. */
import {
  type KeyboardEvent,
  type MouseEvent,
  type PointerEvent,
  useEffect,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from 'react';
import { cellAt, drawHeatMap, layoutHeatMap } from './heat-map-draw.ts';
import { type Cell, type HeatBars, type HeatCells, moveCell } from './heat-map-model.ts';
import { readThemeColours, useShownTheme } from './theme-colours.ts';
import { useWidth } from './use-width.ts';
import './heat-map.css';

/**
 * The heat map; `onOpen`, where there is more to see of an expert, is called with a row and an expert number by click, Enter or
 * Space.
 */
export function HeatMap({
  label,
  cells,
  bars,
  describe,
  layerNames,
  onOpen,
}: {
  readonly label: string;
  readonly cells: HeatCells;
  readonly bars: HeatBars;
  /** The numbers of a cell, after its place. */
  readonly describe: (row: number, expert: number) => string;
  /** Decoder layer index of each row. */
  readonly layerNames: readonly number[];
  readonly onOpen?: (layer: number, expert: number) => void;
}) {
  const { layers, experts } = cells;
  const [box, width] = useWidth();
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = useShownTheme();
  const [focused, setFocused] = useState<Cell>({ layer: 0, column: 0 });
  const [hasFocus, setHasFocus] = useState(false);
  const [hovered, setHovered] = useState<Cell>();
  const id = useId();
  const ratio = devicePixelRatio;
  const layout = useMemo(() => layoutHeatMap(width, ratio, layers, experts), [width, ratio, layers, experts]);
  const colours = useRef<{ theme: string; value: ReturnType<typeof readThemeColours> }>(undefined);

  useLayoutEffect(() => {
    const element = canvas.current;
    const context = element?.getContext('2d');
    if (element === null || context === null || context === undefined || width === 0) return;
    if (element.width !== layout.width) element.width = layout.width;
    if (element.height !== layout.height) element.height = layout.height;
    if (colours.current?.theme !== theme) colours.current = { theme, value: readThemeColours(document.body) };
    drawHeatMap(context, layout, cells, colours.current.value, layerNames, bars);
  }, [layout, cells, bars, layerNames, theme, width]);

  // A run with fewer experts may take the place of a larger one.
  useEffect(() => {
    setFocused((cell) => ({
      layer: Math.min(cell.layer, layers - 1),
      column: Math.min(cell.column, experts - 1),
    }));
    setHovered(undefined);
  }, [layers, experts]);

  const expertOf = (cell: Cell) => cells.expertAt_LE[cell.layer * experts + cell.column] ?? 0;
  const open = (cell: Cell) => onOpen?.(cell.layer, expertOf(cell));
  const words = (cell: Cell) =>
    `Layer ${layerNames[cell.layer] ?? cell.layer}, expert ${expertOf(cell)}: ${describe(cell.layer, expertOf(cell))}`;
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      open(focused);
      return;
    }
    const next = moveCell(focused, event.key, event.ctrlKey || event.metaKey, layers, experts);
    if (next === undefined) return;
    event.preventDefault();
    setFocused(next);
  };
  const under = (event: PointerEvent | MouseEvent) => {
    const bounds = event.currentTarget.getBoundingClientRect();
    return cellAt(layout, event.clientX - bounds.left, event.clientY - bounds.top);
  };
  const shown = hovered ?? (hasFocus ? focused : undefined);
  const ring = shown && {
    left: (layout.left + shown.column * layout.cellWidth) / ratio - 2,
    top: (layout.top + shown.layer * layout.cellHeight) / ratio - 2,
    width: layout.cellWidth / ratio + 3,
    height: layout.cellHeight / ratio + 3,
  };
  return (
    <div ref={box} className="heat-map">
      <div
        role="grid"
        aria-label={label}
        aria-rowcount={layers}
        aria-colcount={experts}
        aria-activedescendant={`${id}-cell`}
        tabIndex={0}
        className="heat-map-grid"
        style={{ width: layout.width / ratio }}
        onKeyDown={onKeyDown}
        onFocus={() => setHasFocus(true)}
        onBlur={() => setHasFocus(false)}
        onPointerMove={(event) => setHovered(under(event))}
        onPointerLeave={() => setHovered(undefined)}
        onClick={(event) => {
          const cell = under(event);
          if (cell === undefined) return;
          setFocused(cell);
          open(cell);
        }}
      >
        <canvas
          ref={canvas}
          aria-hidden="true"
          style={{ width: layout.width / ratio, height: layout.height / ratio }}
        />
        {ring && <div className="heat-map-ring" style={ring} />}
        <div role="row" aria-rowindex={focused.layer + 1} className="visually-hidden">
          <div role="gridcell" id={`${id}-cell`} aria-colindex={focused.column + 1} aria-selected="true">
            {words(focused)}
          </div>
        </div>
      </div>
      <p className="heat-map-readout num">
        {shown === undefined ? 'Point at a cell, or use the arrow keys, for its numbers.' : words(shown)}
      </p>
    </div>
  );
}
