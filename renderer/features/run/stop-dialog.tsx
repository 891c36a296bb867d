import { toErrorInfo } from '#core/contract/errors.ts';
import type { RunDetail } from '#core/contract/run.ts';
import { useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Dialog } from '../../ui/dialog.tsx';
import { formatCount } from '../../ui/format.ts';
import { ErrorNote } from '../../ui/states.tsx';

/** Stops a run, with or without a checkpoint of where it is. */
export function StopDialog({
  detail,
  open,
  onClose,
}: {
  readonly detail: RunDetail;
  readonly open: boolean;
  readonly onClose: () => void;
}) {
  const stop = useCommand('runs.stop', ['runs.get', 'runs.list']);
  const send = (keep: boolean) => stop.mutate({ id: detail.id, keep }, { onSuccess: onClose });
  const last = detail.checkpoints.at(-1);
  return (
    <Dialog open={open} title="Stop this run" onClose={onClose}>
      <p>
        Stop and keep saves a checkpoint of the current step, from which the run can be resumed. Stop and
        discard saves nothing more
        {last === undefined
          ? '; there is no checkpoint yet'
          : `; the checkpoint at step ${formatCount(last.step)} stays`}
        . The metrics stay in either case.
      </p>
      {stop.error !== null && <ErrorNote what="The run was not stopped" error={toErrorInfo(stop.error)} />}
      <div className="dialog-actions">
        <Button onClick={onClose}>Go on training</Button>
        <Button look="danger" disabled={stop.isPending} onClick={() => send(false)}>
          Stop and discard
        </Button>
        <Button look="primary" disabled={stop.isPending} onClick={() => send(true)}>
          Stop and keep
        </Button>
      </div>
    </Dialog>
  );
}
