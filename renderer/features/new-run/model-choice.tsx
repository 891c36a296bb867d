import type { UseQueryResult } from '@tanstack/react-query';
import { Link } from 'wouter';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { ModelEntry } from '#core/contract/model.ts';
import { useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card } from '../../ui/card.tsx';
import { formatBytes, formatLarge } from '../../ui/format.ts';
import { EmptyState, ErrorNote, Loaded } from '../../ui/states.tsx';
import type { FormState } from './draft.ts';

/** Which checkpoint to train. */
export function ModelChoice({
  form,
  models,
  onChoose,
}: {
  readonly form: FormState;
  readonly models: UseQueryResult<ModelEntry[]>;
  readonly onChoose: (id: string) => void;
}) {
  const sample = useCommand('sample.prepare', ['models.list', 'datasets.list']);
  return (
    <Card title="1 · Model" aside={<Link href="/models">Manage models</Link>}>
      <Loaded query={models} what="the models">
        {(list) =>
          list.length === 0 ? (
            <EmptyState inset text="No model yet. A run starts from a checkpoint folder on this machine.">
              <Link href="/models" className="button">
                Add a model
              </Link>
              <Button disabled={sample.isPending} onClick={() => sample.mutate(undefined)}>
                Use the sample
              </Button>
              {sample.error !== null && (
                <ErrorNote what="The sample was not added" error={toErrorInfo(sample.error)} />
              )}
            </EmptyState>
          ) : (
            <div className="choices" role="radiogroup" aria-label="Model">
              {list.map((model) => (
                <label key={model.id} className="choice">
                  <input
                    type="radio"
                    name="model"
                    checked={form.modelId === model.id}
                    disabled={model.problems.length > 0}
                    onChange={() => onChoose(model.id)}
                  />
                  <span>
                    <b title={model.name}>{model.name}</b>
                    <small className="num">
                      {model.family} · {formatLarge(model.parameters.total)} parameters · {model.moeLayers} ×{' '}
                      {model.experts} experts · {model.dtype} · {formatBytes(model.bytes)}
                    </small>
                    {model.problems[0] !== undefined && (
                      <small className="bad-ink">{model.problems[0]}</small>
                    )}
                  </span>
                </label>
              ))}
            </div>
          )
        }
      </Loaded>
    </Card>
  );
}
