/** The states every page has besides its content: empty, loading, failed. */
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { type ErrorInfo, toErrorInfo } from '#core/contract/errors.ts';
import { Button } from './button.tsx';
import { CopyButton } from './copy-button.tsx';

/** One sentence, and what to do about it. */
export function EmptyState({
  text,
  inset,
  children,
}: {
  readonly text: ReactNode;
  /** Inside a card: no border of its own. */
  readonly inset?: boolean;
  readonly children?: ReactNode;
}) {
  return (
    <div className={inset ? 'empty inset' : 'empty'}>
      <p>{text}</p>
      {children !== undefined && <div className="row wrap">{children}</div>}
    </div>
  );
}

/** Grey lines in place of content that is on its way; invisible for the first 200 ms. */
export function Skeleton({ label, lines = 3 }: { readonly label: string; readonly lines?: number }) {
  return (
    <div className="skeleton" role="status" aria-label={label}>
      {Array.from({ length: lines }, (_, line) => (
        <i key={line} style={{ width: `${92 - ((line * 23) % 40)}%` }} />
      ))}
    </div>
  );
}

/** What went wrong, what to do, and the details to hand on. */
export function ErrorNote({
  error,
  what,
  titled = false,
  onRetry,
}: {
  readonly error: Omit<ErrorInfo, 'hint'> & { readonly hint?: string | undefined };
  /** The attempt that failed, as the start of a sentence: "The runs could not be read". */
  readonly what: string;
  /** A title above says already what failed. */
  readonly titled?: boolean;
  readonly onRetry?: () => void;
}) {
  const details = JSON.stringify(
    { what, ...error, page: location.hash, time: new Date().toISOString() },
    null,
    2,
  );
  return (
    <div className="notice bad" role="alert">
      {!titled && <strong>{what}</strong>}
      <p>{error.message}</p>
      {error.hint !== undefined && <p className="muted">{error.hint}</p>}
      <div className="row wrap">
        {onRetry !== undefined && (
          <Button small onClick={onRetry}>
            Try again
          </Button>
        )}
        <CopyButton label="Copy details" text={() => details} />
        <code className="muted">{error.code}</code>
      </div>
    </div>
  );
}

/** Shows a query's value, or its loading or error state. */
export function Loaded<T>({
  query,
  what,
  lines,
  children,
}: {
  readonly query: UseQueryResult<T>;
  /** What is loaded, as a noun: "the runs". */
  readonly what: string;
  readonly lines?: number;
  readonly children: (value: T) => ReactNode;
}) {
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.error !== null) {
    return (
      <ErrorNote
        what={`Could not read ${what}`}
        error={toErrorInfo(query.error)}
        onRetry={() => void query.refetch()}
      />
    );
  }
  return <Skeleton label={`Loading ${what}`} lines={lines ?? 3} />;
}
