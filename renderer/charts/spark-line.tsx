/** A small curve beside a number; decoration of a value that is written out, so it is hidden from readers. */
const POINTS = 80;

/** SVG path of `values` scaled into `width × height`, thinned to `POINTS`; empty for fewer than two. */
export function sparkPath(values: readonly number[], width: number, height: number): string {
  const finite = values.filter((value) => Number.isFinite(value));
  if (finite.length < 2) return '';
  const stride = Math.max(1, Math.ceil(finite.length / POINTS));
  const shown = finite.filter((_, i) => i % stride === 0 || i === finite.length - 1);
  const [low, high] = [Math.min(...shown), Math.max(...shown)];
  const span = high - low || 1;
  return shown
    .map((value, i) => {
      const x = (i / (shown.length - 1)) * width;
      const y = high === low ? height / 2 : height - 1 - ((value - low) / span) * (height - 2);
      return `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join('');
}

/** The curve. */
export function SparkLine({ values }: { readonly values: readonly number[] }) {
  return (
    <svg className="spark" viewBox="0 0 200 22" preserveAspectRatio="none" aria-hidden="true">
      <path
        d={sparkPath(values, 200, 22)}
        fill="none"
        stroke="var(--s1)"
        strokeWidth="1.3"
        vectorEffect="non-scaling-stroke"
      />
    </svg>
  );
}
