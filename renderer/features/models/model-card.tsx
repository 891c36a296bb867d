import { useState } from 'react';
import { Link } from 'wouter';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { ModelEntry } from '#core/contract/model.ts';
import { useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card } from '../../ui/card.tsx';
import { CopyButton } from '../../ui/copy-button.tsx';
import { Dialog } from '../../ui/dialog.tsx';
import { Disclosure } from '../../ui/disclosure.tsx';
import { formatBytes, formatCount, formatLarge, formatShare, plural } from '../../ui/format.ts';
import { ErrorNote } from '../../ui/states.tsx';
import './model-card.css';

/** Where the parameters are, as one bar. */
function Parameters({
  byKind,
  total,
}: {
  readonly byKind: Readonly<Record<string, number>>;
  readonly total: number;
}) {
  const kinds = Object.entries(byKind).sort(([, a], [, b]) => b - a);
  return (
    <div className="parameters">
      <div className="parameters-bar" aria-hidden="true">
        {kinds.map(([kind, count], i) => (
          <i
            key={kind}
            style={{ flexGrow: count / Math.max(1, total), background: `var(--s${(i % 8) + 1})` }}
          />
        ))}
      </div>
      <ul>
        {kinds.map(([kind, count], i) => (
          <li key={kind}>
            <i style={{ background: `var(--s${(i % 8) + 1})` }} aria-hidden="true" />
            {kind} <b>{formatLarge(count)}</b>{' '}
            <span className="muted">{formatShare(count / Math.max(1, total))}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Problems shown at once: a config of another model has one for every tensor. */
const FIRST_PROBLEMS = 5;

function Problems({ problems }: { readonly problems: readonly string[] }) {
  const [all, setAll] = useState(false);
  const more = problems.length - FIRST_PROBLEMS;
  return (
    <div className="notice bad">
      <strong>This folder cannot be trained as it is</strong>
      <ul>
        {(all ? problems : problems.slice(0, FIRST_PROBLEMS)).map((problem) => (
          <li key={problem}>{problem}</li>
        ))}
      </ul>
      {more > 0 && (
        <Disclosure open={all} onToggle={() => setAll(!all)}>
          {all ? 'The first ones only' : plural(more, 'more problem')}
        </Disclosure>
      )}
    </div>
  );
}

/** One checkpoint: what it is, what is wrong with it, and what can be done with it. */
export function ModelCard({ model }: { readonly model: ModelEntry }) {
  const verify = useCommand('models.verify', ['models.list']);
  const remove = useCommand('models.remove', ['models.list']);
  const [asking, setAsking] = useState(false);
  const { tokenizer } = model;
  const failed = verify.error ?? remove.error;
  return (
    <Card
      title={
        <>
          <span className="model-name">{model.name}</span>{' '}
          {model.problems.length === 0 ? (
            <span className="chip ok">✓ can be trained</span>
          ) : (
            <span className="chip bad">✕ {plural(model.problems.length, 'problem')}</span>
          )}
        </>
      }
      aside={
        <>
          {model.problems.length === 0 && (
            <Link href={`/new/model/${model.id}`} className="button small">
              New run
            </Link>
          )}
          <Button small disabled={verify.isPending} onClick={() => verify.mutate({ id: model.id })}>
            {verify.isPending
              ? 'Reading every byte…'
              : model.sha256 === undefined
                ? 'Verify'
                : 'Verify again'}
          </Button>
          <Button small look="quiet" onClick={() => setAsking(true)}>
            Remove…
          </Button>
        </>
      }
    >
      <div className="model-body">
        {failed !== null && <ErrorNote what="That did not work" error={toErrorInfo(failed)} />}
        {model.problems.length > 0 && <Problems problems={model.problems} />}
        <div className="model-facts">
          <dl className="facts">
            <dt>Family</dt>
            <dd>{model.family}</dd>
            <dt>Parameters</dt>
            <dd>
              {formatLarge(model.parameters.total)} · {formatLarge(model.parameters.active)} used by a token
            </dd>
            <dt>Experts</dt>
            <dd>
              {formatCount(model.experts)} in each of {plural(model.moeLayers, 'layer')} ·{' '}
              {model.expertsPerToken} per token
            </dd>
            <dt>Layers</dt>
            <dd>
              {model.layers} · hidden size {formatCount(model.hiddenSize)}
            </dd>
          </dl>
          <dl className="facts">
            <dt>Weights</dt>
            <dd>
              {model.dtype} · {formatBytes(model.bytes)} · {plural(model.shards, 'file')}
            </dd>
            <dt>Tokenizer</dt>
            <dd>
              {tokenizer.present
                ? `${formatCount(tokenizer.vocabularySize ?? model.vocabularySize)} tokens`
                : 'missing'}{' '}
              · {tokenizer.chatTemplate ? 'has a chat template' : 'no chat template'}
            </dd>
            <dt>Folder</dt>
            <dd>
              <code>{model.path}</code>
            </dd>
            <dt>SHA-256</dt>
            <dd>
              {model.sha256 === undefined ? (
                <span className="muted">not computed; Verify reads every byte</span>
              ) : (
                <span className="row">
                  <code className="ellipsis">{model.sha256}</code>
                  <CopyButton label="Copy" text={() => model.sha256 ?? ''} />
                </span>
              )}
            </dd>
          </dl>
        </div>
        <Parameters byKind={model.parameters.byKind} total={model.parameters.total} />
      </div>
      <Dialog open={asking} title={`Remove ${model.name} from the list`} onClose={() => setAsking(false)}>
        <p>The folder and its files stay where they are. Runs that used the model are kept.</p>
        <div className="dialog-actions">
          <Button onClick={() => setAsking(false)}>Keep it</Button>
          <Button
            look="primary"
            disabled={remove.isPending}
            onClick={() => remove.mutate({ id: model.id }, { onSettled: () => setAsking(false) })}
          >
            Remove from the list
          </Button>
        </div>
      </Dialog>
    </Card>
  );
}
