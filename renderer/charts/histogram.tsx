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
  if (bins.length === 0) return null;
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
      <div className="histogram-axis num" aria-hidden="true">
        {bins.map((bin) => (
          <span key={bin.upTo}>{bins.length <= 14 ? shortCount(bin.upTo) : ''}</span>
        ))}
      </div>
      <p className="histogram-note num">
        rows by length, up to … tokens · highest bar {plural(most, 'row')}
        {over > 0 && (
          <span className="warn-ink">
            {' '}
            · {plural(over, 'row')} in bins beyond the cut at {formatCount(cut)}
          </span>
        )}
      </p>
    </div>
  );
}

/** 512, 1k, 16k. */
function shortCount(value: number): string {
  return value >= 1024 && value % 1024 === 0 ? `${value / 1024}k` : String(value);
}
