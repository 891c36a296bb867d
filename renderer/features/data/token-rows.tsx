import type { PreviewRow } from '#core/contract/dataset.ts';
import type { CallInput } from '#core/contract/host-api.ts';
import { useCall } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { formatCount } from '../../ui/format.ts';
import { EmptyState, Loaded } from '../../ui/states.tsx';

/** Rows shown at once. */
const PAGE = 5;

type Token = PreviewRow['tokens'][number];

/** White space made visible; a line break also breaks the line. */
function visibleText(text: string): string {
  return text.replaceAll('\n', '↵\n').replaceAll('\t', '→\t');
}

function TokenSpan({ token }: { readonly token: Token }) {
  const kind = [
    token.special && 'special',
    token.trained && 'trained',
    token.truncated && 'truncated',
  ].filter(Boolean);
  const title = `token ${token.id}${kind.length === 0 ? '' : `, ${kind.join(', ')}`}`;
  return (
    <span className={['token', ...kind].join(' ')} title={title}>
      {token.text === '' ? '∅' : visibleText(token.text)}
    </span>
  );
}

/** A row; its tokens never move, so their place tells them apart. */
function Tokens({ tokens }: { readonly tokens: readonly Token[] }) {
  const placed = tokens.map((token, place) => ({ token, place }));
  return placed.map(({ token, place }) => <TokenSpan key={place} token={token} />);
}

/** Rows as tokens: trained ones tinted, truncated ones struck through, special ones as chips. */
export function TokenRows({
  input,
  enabled,
  total,
  fromRow,
  onFrom,
}: {
  readonly input: Omit<CallInput<'datasets.preview'>, 'fromRow' | 'rows'>;
  readonly enabled: boolean;
  readonly total: number;
  readonly fromRow: number;
  readonly onFrom: (row: number) => void;
}) {
  const rows = useCall('datasets.preview', { ...input, fromRow, rows: PAGE }, { enabled, keep: true });
  const last = Math.max(1, total);
  return (
    <div className="token-rows">
      <div className="row wrap">
        <p className="token-key">
          <span className="token trained">trained</span> <span className="token truncated">cut off</span>{' '}
          <span className="token special">special</span>
        </p>
        <span className="grow" />
        <label className="row">
          <span className="muted">Row</span>
          <input
            className="input number token-from"
            type="number"
            min={1}
            max={last}
            value={fromRow}
            onChange={(event) => {
              const row = Math.round(event.target.valueAsNumber);
              if (row >= 1 && row <= last) onFrom(row);
            }}
          />
        </label>
        <Button small disabled={fromRow <= 1} onClick={() => onFrom(Math.max(1, fromRow - PAGE))}>
          Previous
        </Button>
        <Button small disabled={fromRow + PAGE > last} onClick={() => onFrom(fromRow + PAGE)}>
          Next
        </Button>
      </div>
      <Loaded query={rows} what="the rows" lines={8}>
        {(list) =>
          list.length === 0 ? (
            <EmptyState inset text="No row can be shown from here." />
          ) : (
            <ol className="token-list" aria-busy={rows.isPlaceholderData}>
              {list.map((row) => (
                <li key={row.row}>
                  <div className="token-head num">
                    row {formatCount(row.row)}{' '}
                    <span className="muted">
                      {formatCount(row.tokens.length)} tokens,{' '}
                      {formatCount(row.tokens.filter((token) => token.trained).length)} trained
                    </span>
                  </div>
                  <div className="token-text">
                    <Tokens tokens={row.tokens} />
                  </div>
                </li>
              ))}
            </ol>
          )
        }
      </Loaded>
    </div>
  );
}
