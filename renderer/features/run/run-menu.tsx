import { Menu } from '@base-ui/react/menu';
import { type SubmitEvent, useState } from 'react';
import { useLocation } from 'wouter';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { RunDetail } from '#core/contract/run.ts';
import { isEnded } from '#core/contract/run-state.ts';
import { useClient, useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Dialog } from '../../ui/dialog.tsx';
import { download } from '../../ui/download.ts';
import { ErrorNote } from '../../ui/states.tsx';

/** What is done to a run now and then: rename, compare, save its specification, remove. */
export function RunMenu({ detail }: { readonly detail: RunDetail }) {
  const client = useClient();
  const [dialog, setDialog] = useState<'rename' | 'remove'>();
  const [name, setName] = useState(detail.name);
  const [exportError, setExportError] = useState<unknown>();
  const rename = useCommand('runs.rename', ['runs.get', 'runs.list']);
  const remove = useCommand('runs.remove', ['runs.list']);
  const [, navigate] = useLocation();
  const close = () => setDialog(undefined);
  const { id } = detail;
  const saveSpec = () => {
    client
      .call('runs.exportSpec', { id })
      .then(({ json }) => download('RUN.json', json, 'application/json'), setExportError);
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    rename.mutate({ id, name: name.trim() }, { onSuccess: close });
  };
  return (
    <>
      <Menu.Root>
        <Menu.Trigger className="button" aria-label="More about this run">
          ⋯
        </Menu.Trigger>
        <Menu.Portal>
          <Menu.Positioner className="popup-layer" sideOffset={4} align="end">
            <Menu.Popup className="popup">
              <Menu.Item
                className="popup-item"
                onClick={() => {
                  setName(detail.name);
                  setDialog('rename');
                }}
              >
                Rename…
              </Menu.Item>
              <Menu.Item className="popup-item" onClick={() => navigate(`/compare/${id}`)}>
                Compare with other runs
              </Menu.Item>
              <Menu.Item className="popup-item" onClick={() => navigate(`/report/${id}`)}>
                Build a report
              </Menu.Item>
              <Menu.Item className="popup-item" onClick={saveSpec}>
                Save RUN.json
              </Menu.Item>
              <Menu.Item
                className="popup-item"
                disabled={!isEnded(detail.state)}
                onClick={() => setDialog('remove')}
              >
                Remove…
              </Menu.Item>
            </Menu.Popup>
          </Menu.Positioner>
        </Menu.Portal>
      </Menu.Root>
      <Dialog open={dialog === 'rename'} title="Rename the run" onClose={close}>
        <form className="stack" onSubmit={submit}>
          <input
            className="input"
            aria-label="Name"
            maxLength={200}
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
          {rename.error !== null && <ErrorNote what="It was not renamed" error={toErrorInfo(rename.error)} />}
          <div className="dialog-actions">
            <Button onClick={close}>Keep the name</Button>
            <Button type="submit" look="primary" disabled={name.trim() === '' || rename.isPending}>
              Rename
            </Button>
          </div>
        </form>
      </Dialog>
      <Dialog open={dialog === 'remove'} title="Remove this run" onClose={close}>
        <p>Its metrics, its checkpoints and its folder are deleted. This cannot be taken back.</p>
        {remove.error !== null && <ErrorNote what="It was not removed" error={toErrorInfo(remove.error)} />}
        <div className="dialog-actions">
          <Button onClick={close}>Keep it</Button>
          <Button
            look="danger"
            disabled={remove.isPending}
            onClick={() => remove.mutate({ id }, { onSuccess: () => navigate('/runs') })}
          >
            Delete the run
          </Button>
        </div>
      </Dialog>
      <Dialog
        open={exportError !== undefined}
        title="RUN.json was not saved"
        onClose={() => setExportError(undefined)}
      >
        {exportError !== undefined && <ErrorNote what="Saving failed" error={toErrorInfo(exportError)} />}
        <div className="dialog-actions">
          <Button onClick={() => setExportError(undefined)}>Close</Button>
        </div>
      </Dialog>
    </>
  );
}
