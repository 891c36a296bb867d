import { type DragEvent, type ReactNode, useRef, useState } from 'react';
import { toErrorInfo } from '#core/contract/errors.ts';
import { Button } from '../../ui/button.tsx';
import { Dialog } from '../../ui/dialog.tsx';
import { Icon } from '../../ui/icons.tsx';
import { ErrorNote } from '../../ui/states.tsx';
import { useImport } from './use-import.ts';
import './drop-zone.css';

const hasFiles = (event: DragEvent) => event.dataTransfer.types.includes('Files');

/** Takes data files dropped anywhere on the page. */
export function DropZone({ children }: { readonly children: ReactNode }) {
  const [over, setOver] = useState(false);
  /** Entering a child fires before leaving its parent: count both. */
  const depth = useRef(0);
  const importing = useImport();
  const change = (event: DragEvent, by: number) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth.current = Math.max(0, depth.current + by);
    setOver(depth.current > 0);
  };
  const drop = (event: DragEvent) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth.current = 0;
    setOver(false);
    const file = event.dataTransfer.files.item(0);
    if (file !== null) importing.mutate({ file });
  };
  return (
    <div
      onDragEnter={(event) => change(event, 1)}
      onDragLeave={(event) => change(event, -1)}
      onDragOver={(event) => {
        if (hasFiles(event)) event.preventDefault();
      }}
      onDrop={drop}
    >
      {children}
      {over && (
        <div className="drop-cover">
          <div>
            <Icon name="up" size={28} />
            <strong>Drop to import as a data set</strong>
            <span>JSONL, JSON, CSV, TSV or Parquet. The file stays on this machine.</span>
          </div>
        </div>
      )}
      {importing.isPending && (
        <div className="drop-progress" role="status">
          Reading {'file' in importing.variables ? importing.variables.file.name : 'the file'}…
        </div>
      )}
      <Dialog
        open={importing.error !== null}
        title="The file was not imported"
        onClose={() => importing.reset()}
      >
        {importing.error !== null && <ErrorNote what="Import failed" error={toErrorInfo(importing.error)} />}
        <div className="dialog-actions">
          <Button onClick={() => importing.reset()}>Close</Button>
        </div>
      </Dialog>
    </div>
  );
}
