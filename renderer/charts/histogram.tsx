import { formatCount, plural } from '../ui/format.ts';

/** Rows by length; bins beyond `cut` are marked. */
export function Histogram({
  bins,
  cut,
}: {
  readonly bins: readonly { readonly upTo: number; readonly rows: number }[];
  /** Longest example in tokens; longer ones lose their end. */
  readonly cut: number;
}) {
  const most = Math.max(1, ...bins.map((bin) => bin.rows));
  const over = bins.filter((bin) => bin.upTo > cut).reduce((sum, bin) => sum + bin.rows, 0);
  const last = bins.at(-1)?.upTo ?? 0;
  return (
    <div>
      <div
        className="histogram"
        role="img"
        aria-label={`Rows by length in tokens, up to ${formatCount(last)}; ${plural(over, 'row')} in bins beyond ${formatCount(cut)}`}
      >
        {bins.map((bin) => (
          <i
            key={bin.upTo}
            className={bin.upTo > cut ? 'cut' : undefined}
            style={{ height: `${bin.rows === 0 ? 0 : Math.max(2, (100 * bin.rows) / most)}%` }}
            title={`up to ${formatCount(bin.upTo)} tokens: ${plural(bin.rows, 'row')}`}
          />
        ))}
      </div>
      <div className="histogram-axis num">
        <span>0</span>
        <span>tokens a row</span>
        <span>{formatCount(last)}</span>
      </div>
    </div>
  );
}
