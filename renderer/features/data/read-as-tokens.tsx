import { Fragment, useEffect, useState } from 'react';
import { Link } from 'wouter';
import type { DatasetEntry, DatasetInspection } from '#core/contract/dataset.ts';
import { useCall, useClient } from '../../api/use-host.ts';
import { Histogram } from '../../charts/histogram.tsx';
import { Card } from '../../ui/card.tsx';
import { formatCount, formatShare, plural } from '../../ui/format.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { Select } from '../../ui/select.tsx';
import { EmptyState, Loaded } from '../../ui/states.tsx';
import { TokenRows } from './token-rows.tsx';

/** Rows of a finding that can be opened. */
const ROW_LINKS = 8;
const LENGTHS = [128, 256, 512, 1024, 2048, 4096];

function Numbers({ inspection }: { readonly inspection: DatasetInspection }) {
  const { tokens, trainedTokens, truncatedRows, rows, longest } = inspection;
  return (
    <dl className="facts">
      <dt>Tokens</dt>
      <dd>{formatCount(tokens)}</dd>
      <dt>Trained</dt>
      <dd>
        {formatCount(trainedTokens)}{' '}
        <span className="muted">{tokens > 0 && formatShare(trainedTokens / tokens)}</span>
      </dd>
      <dt>Longest row</dt>
      <dd>{plural(longest, 'token')}</dd>
      <dt>Truncated</dt>
      <dd className={truncatedRows > 0 ? 'warn-ink' : undefined}>
        {truncatedRows === 0 ? 'none' : `${formatCount(truncatedRows)} of ${plural(rows, 'row')}`}
      </dd>
    </dl>
  );
}

function Findings({
  findings,
  onRow,
}: {
  readonly findings: DatasetInspection['findings'];
  readonly onRow: (row: number) => void;
}) {
  if (findings.length === 0)
    return <p className="muted">✓ Nothing to report: every row can be read and trained on.</p>;
  const mark = { error: '✕', warning: '!', info: 'i' };
  const tone = { error: 'bad', warning: 'warn', info: '' };
  return (
    <ul className="findings">
      {findings.map((finding) => (
        <li key={`${finding.code} ${finding.message}`}>
          <span className={`chip ${tone[finding.severity]}`}>
            <span aria-hidden="true">{mark[finding.severity]} </span>
            {finding.severity}
          </span>
          <div>
            {finding.message}{' '}
            <span className="muted num">
              ({plural(finding.count, 'row')}
              {finding.rows.length > 0 && ': '}
              {finding.rows.slice(0, ROW_LINKS).map((row, i) => (
                <Fragment key={row}>
                  {i > 0 && ', '}
                  <button type="button" className="row-link" onClick={() => onRow(row)}>
                    {formatCount(row)}
                  </button>
                </Fragment>
              ))}
              {finding.count > ROW_LINKS && ', …'})
            </span>
            {finding.hint !== undefined && <div className="muted">{finding.hint}</div>}
          </div>
        </li>
      ))}
    </ul>
  );
}

/** How far the inspection of data set `id` is: a large one takes minutes. */
function RowsRead({ id, total }: { readonly id: string; readonly total: number }) {
  const client = useClient();
  const [read, setRead] = useState<number>();
  useEffect(
    () =>
      client.on('datasets.inspecting', (progress) => {
        if (progress.id === id) setRead(progress.rows);
      }),
    [client, id],
  );
  if (read === undefined) return null;
  return (
    <p className="muted num">{`${formatCount(read)} of ${plural(total, 'row')} read as tokens so far.`}</p>
  );
}

/** The data set as `modelId`'s tokenizer and template make it: numbers, findings, and rows as tokens. */
export function ReadAsTokens({ entry }: { readonly entry: DatasetEntry }) {
  const models = useCall('models.list', undefined);
  const [chosen, setChosen] = useState<string>();
  const [maxLength, setMaxLength] = useState(512);
  const [lossOn, setLossOn] = useState<'completion' | 'all'>('completion');
  const [fromRow, setFromRow] = useState(1);
  const usable = models.data?.filter((model) => model.tokenizer.present) ?? [];
  const modelId = chosen ?? usable[0]?.id;
  const input = { id: entry.id, modelId: modelId ?? 'model_none', maxLength, lossOn };
  const inspection = useCall('datasets.inspect', input, { enabled: modelId !== undefined });
  if (models.data !== undefined && modelId === undefined) {
    return (
      <Card title="What the model will read">
        <EmptyState inset text="Add a model with a tokenizer to see the rows as tokens.">
          <Link href="/models" className="button">
            Add a model
          </Link>
        </EmptyState>
      </Card>
    );
  }
  return (
    <Card
      title="What the model will read"
      aside={
        <>
          <Select
            small
            label="Tokenizer and template of"
            value={modelId ?? null}
            choices={usable.map((model) => ({ value: model.id, label: model.name }))}
            onChange={setChosen}
          />
          <Select
            small
            label="Longest example"
            value={String(maxLength)}
            choices={LENGTHS.map((length) => ({
              value: String(length),
              label: `cut at ${formatCount(length)}`,
            }))}
            onChange={(value) => setMaxLength(Number(value))}
          />
          <Segmented
            label="Train on"
            value={lossOn}
            choices={[
              { value: 'completion', label: 'answers' },
              { value: 'all', label: 'everything' },
            ]}
            onChange={setLossOn}
          />
        </>
      }
    >
      <div className="read">
        <div className="stack">
          <Loaded query={inspection} what="the findings" lines={8}>
            {(value) => (
              <>
                <Numbers inspection={value} />
                <Histogram bins={value.histogram} cut={maxLength} />
                <Findings findings={value.findings} onRow={setFromRow} />
              </>
            )}
          </Loaded>
          {inspection.isPending && <RowsRead id={entry.id} total={entry.rows} />}
        </div>
        <TokenRows
          input={input}
          enabled={modelId !== undefined}
          total={entry.rows}
          fromRow={fromRow}
          onFrom={setFromRow}
        />
      </div>
    </Card>
  );
}
