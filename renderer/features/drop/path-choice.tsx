import { useMutation } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { toErrorInfo, UserError } from '#core/contract/errors.ts';
import type { RegisteredFile } from '../../api/transport.ts';
import { useCall, useClient } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { ErrorNote } from '../../ui/states.tsx';
import { useDropped } from './drop-zone.tsx';
import { ImportControls } from './import-controls.tsx';
import { type ImportSource, register } from './use-import.ts';

/** The file or folder that was chosen, or a picker; one that is dropped on the page takes its place. */
export function PathChoice({
  kind,
  noun,
  example,
  drop,
  chosen,
  onChange,
  children,
}: {
  readonly kind: 'data' | 'folder';
  /** What is chosen. */
  readonly noun: string;
  /** A path, shown while none is typed. */
  readonly example?: string;
  /** Said while something is dragged over the page: what dropping it does, and what it may be. */
  readonly drop: { readonly words: string; readonly note?: string };
  readonly chosen: RegisteredFile | undefined;
  readonly onChange: (chosen: RegisteredFile | undefined) => void;
  /** Said below the picker. */
  readonly children: ReactNode;
}) {
  const client = useClient();
  const info = useCall('app.info', undefined);
  const [failed, setFailed] = useState<unknown>();
  const { mutate, isPending } = useMutation({
    mutationFn: async (source: ImportSource) => {
      if (kind === 'folder' && 'file' in source && info.data?.shell !== 'electron') {
        throw new UserError(
          'shell/no-path',
          `a browser does not tell where ${source.file.name} lies`,
          'Type the path of the folder.',
        );
      }
      return register(client, source);
    },
    onMutate: () => setFailed(undefined),
    onSuccess: onChange,
    onError: setFailed,
  });
  useDropped(drop.words, (file) => mutate({ file }), drop.note);
  return (
    <>
      {chosen === undefined ? (
        <>
          <ImportControls
            kind={kind}
            noun={noun}
            verb="Use it"
            {...(example !== undefined && { example })}
            busy={isPending}
            onPick={(picked) => mutate(picked)}
            onError={setFailed}
          />
          <small>{children}</small>
        </>
      ) : (
        <div className="row">
          <code className="ellipsis" title={chosen.name}>
            {chosen.name}
          </code>
          <Button small onClick={() => onChange(undefined)}>
            Choose another
          </Button>
        </div>
      )}
      {failed !== undefined && (
        <ErrorNote
          what={kind === 'data' ? 'The file was not taken' : 'The folder was not taken'}
          error={toErrorInfo(failed)}
        />
      )}
    </>
  );
}
