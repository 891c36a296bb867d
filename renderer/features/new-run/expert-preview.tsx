import { useMutation } from '@tanstack/react-query';
import { useId } from 'react';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { RunDraft } from '#core/contract/host-api.ts';
import type { ExpertPreview as Preview } from '#core/contract/method.ts';
import { useClient } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { type Column, DataTable } from '../../ui/data-table.tsx';
import { formatBytes, formatLarge, formatNumber, plural } from '../../ui/format.ts';
import { ErrorNote } from '../../ui/states.tsx';

type Choice = Preview['shares'][number];

const expertsOf = ({ experts }: Pick<Choice, 'experts'>) =>
  experts.reduce((sum, chosen) => sum + chosen.length, 0);

/** What trains at a share of the routing, in words. */
function wordsOf(choice: Omit<Choice, 'share'>): string {
  return `${plural(expertsOf(choice), 'expert')}, ${formatLarge(choice.trainableParameters)} parameters, ${formatBytes(choice.storedBytes)} in a file`;
}

/** Moves the share over those that were looked at; while it is none of them, the experts shown are those asked for. */
function ShareSlider({
  preview,
  share,
  onShare,
}: {
  readonly preview: Preview;
  readonly share: number;
  readonly onShare: (share: number) => void;
}) {
  const id = useId();
  const [first, second] = preview.shares;
  return (
    <div className="row wrap">
      <label htmlFor={id}>Share</label>
      <input
        id={id}
        className="slider"
        type="range"
        min={first?.share ?? 0}
        max={preview.shares.at(-1)?.share ?? 1}
        step={(second?.share ?? 1) - (first?.share ?? 0)}
        value={share}
        aria-valuetext={`${share}: ${wordsOf(choiceAt(preview, share))}`}
        onChange={(event) => onShare(Number(event.target.value))}
      />
      <span className="number">{share}</span>
    </div>
  );
}

/** What was looked at for `share`; where it was not, what was asked for. */
function choiceAt(preview: Preview, share: number): Omit<Choice, 'share'> {
  return preview.shares.find((choice) => choice.share === share) ?? preview;
}

/** One row a share of the routing. */
function SharesTable({ preview }: { readonly preview: Preview }) {
  const all = preview.scores.reduce((sum, layer) => sum + layer.length, 0);
  const columns: readonly Column<Choice>[] = [
    { key: 'share', title: 'Share', value: (choice) => choice.share },
    { key: 'experts', title: `Experts of ${all}`, value: expertsOf },
    {
      key: 'trained',
      title: 'Trained',
      value: (choice) => choice.trainableParameters,
      cell: (choice) => formatLarge(choice.trainableParameters),
    },
    {
      key: 'stored',
      title: 'File',
      value: (choice) => choice.storedBytes,
      cell: (choice) => formatBytes(choice.storedBytes),
    },
  ];
  return (
    <details>
      <summary>All shares as a table</summary>
      <DataTable
        caption="What trains at each share of the routing"
        columns={columns}
        rows={preview.shares}
        rowKey={(choice) => String(choice.share)}
      />
    </details>
  );
}

/** The experts of each layer, the most used first. */
function LayersTable({ preview, share }: { readonly preview: Preview; readonly share: number }) {
  const { experts } = choiceAt(preview, share);
  const rows = preview.layers.map((layer, index) => ({
    layer,
    experts: experts[index] ?? [],
    scores: preview.scores[index] ?? [],
  }));
  type Row = (typeof rows)[number];
  const reached = ({ experts, scores }: Row) =>
    experts.reduce((sum, expert) => sum + (scores[expert] ?? 0), 0);
  const columns: readonly Column<Row>[] = [
    { key: 'layer', title: 'Layer', value: (row) => row.layer },
    { key: 'count', title: 'Experts', value: (row) => row.experts.length },
    {
      key: 'reached',
      title: 'Score',
      value: reached,
      cell: (row) => formatNumber(reached(row), 3),
    },
    {
      key: 'experts',
      title: 'Which, most used first',
      text: true,
      value: (row) => row.experts.join(', '),
    },
  ];
  return (
    <DataTable
      caption="Experts that would train"
      columns={columns}
      rows={rows}
      rowKey={(row) => String(row.layer)}
    />
  );
}

/** A run whose experts are previewed. */
export interface Previewed {
  /** @throws UserError where a field is wrong. */
  readonly draft: () => RunDraft;
  /** What has to be chosen before. */
  readonly missing: readonly string[];
}

/** Which experts ESFT would train on this data, measured when someone asks. */
export function ExpertPreview({
  of: { draft, missing },
  share,
  onShare,
}: {
  readonly of: Previewed;
  /** The share that the form has now. */
  readonly share: number;
  readonly onShare: (share: number) => void;
}) {
  const client = useClient();
  const preview = useMutation({ mutationFn: () => client.call('runs.previewExperts', draft()) });
  const { data } = preview;
  return (
    <div className="stack">
      <div className="row wrap">
        <Button small disabled={missing.length > 0 || preview.isPending} onClick={() => preview.mutate()}>
          {preview.isPending ? 'Routing a sample…' : 'Preview experts'}
        </Button>
        <span className="muted">
          {missing.length > 0
            ? `Needs ${missing.join(', ')}.`
            : 'Routes a sample of your data through the untouched model, as the run does before its first step.'}
        </span>
      </div>
      {preview.isError && (
        <ErrorNote what="The experts were not previewed" error={toErrorInfo(preview.error)} />
      )}
      {data !== undefined && (
        <>
          <ShareSlider preview={data} share={share} onShare={onShare} />
          <p role="status">{wordsOf(choiceAt(data, share))} would train.</p>
          <SharesTable preview={data} />
          <LayersTable preview={data} share={share} />
        </>
      )}
    </div>
  );
}
