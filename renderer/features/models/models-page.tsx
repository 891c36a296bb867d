import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { toErrorInfo } from '#core/contract/errors.ts';
import { useCall, useClient, useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card, PageHead } from '../../ui/card.tsx';
import { EmptyState, ErrorNote, Loaded } from '../../ui/states.tsx';
import { ImportControls } from '../drop/index.ts';
import { ModelCard } from './model-card.tsx';

/** The models that were added, and the way to add one. */
export function ModelsPage() {
  const client = useClient();
  const queries = useQueryClient();
  const models = useCall('models.list', undefined);
  const prepare = useCommand('sample.prepare', ['models.list', 'datasets.list']);
  const [failed, setFailed] = useState<unknown>();
  const add = useMutation({
    mutationFn: async (picked: { handle: string } | { path: string } | { file: File }) => {
      if ('file' in picked) return;
      const handle =
        'handle' in picked
          ? picked.handle
          : (await client.call('files.register', { path: picked.path })).handle;
      await client.call('models.add', { handle });
    },
    onMutate: () => setFailed(undefined),
    onError: setFailed,
    onSuccess: () => queries.invalidateQueries({ queryKey: ['models.list'] }),
  });
  return (
    <>
      <PageHead title="Models" />
      <Card
        title="Add a local folder"
        aside={<span>Hugging Face layout: config.json, tokenizer.json, *.safetensors</span>}
      >
        <ImportControls
          kind="folder"
          busy={add.isPending}
          onPick={(picked, done) => add.mutate(picked, { onSuccess: done })}
          onError={setFailed}
        />
        {failed !== undefined && <ErrorNote what="The model was not added" error={toErrorInfo(failed)} />}
      </Card>
      <Loaded query={models} what="the models" lines={6}>
        {(list) =>
          list.length === 0 ? (
            <EmptyState text="No model yet. Add the folder of a Mixture-of-Experts checkpoint; it is read where it lies and never changed.">
              <Button
                disabled={prepare.isPending}
                onClick={() => prepare.mutate(undefined, { onError: setFailed })}
              >
                Add the sample model
              </Button>
            </EmptyState>
          ) : (
            <>
              {list.map((model) => (
                <ModelCard key={model.id} model={model} />
              ))}
            </>
          )
        }
      </Loaded>
    </>
  );
}
