import {
  createContext,
  type DragEvent,
  type ReactNode,
  use,
  useEffect,
  useEffectEvent,
  useRef,
  useState,
} from 'react';
import { toErrorInfo, UserError } from '#core/contract/errors.ts';
import { Button } from '../../ui/button.tsx';
import { Dialog } from '../../ui/dialog.tsx';
import { Icon } from '../../ui/icons.tsx';
import { ErrorNote } from '../../ui/states.tsx';
import { useImport } from './use-import.ts';
import './drop-zone.css';

const hasFiles = (event: DragEvent) => event.dataTransfer.types.includes('Files');

/** Who takes a dropped file in place of the list of data sets, and what the page says of it. */
interface Taker {
  readonly words: string;
  readonly note: string;
  readonly take: (file: File) => void;
}

const TakerContext = createContext<(taker: Taker | undefined) => void>(() => undefined);

const NOT_IMPORTED = 'The file was not imported';
const DATA_NOTE = 'JSONL, JSON, CSV, TSV or Parquet. The file stays on this machine.';

/**
 * While it is on the page, a file that is dropped anywhere on it goes to `take`.
 * @param words said while it is dragged.
 * @param note what may be dropped.
 */
export function useDropped(words: string, take: (file: File) => void, note = DATA_NOTE): void {
  const setTaker = use(TakerContext);
  const taken = useEffectEvent(take);
  useEffect(() => {
    setTaker({ words, note, take: (file) => taken(file) });
    return () => setTaker(undefined);
  }, [setTaker, words, note]);
}

/** Takes data files dropped anywhere on the page. */
export function DropZone({ children }: { readonly children: ReactNode }) {
  const [over, setOver] = useState(false);
  /** Entering a child fires before leaving its parent: count both. */
  const depth = useRef(0);
  const [taker, setTaker] = useState<Taker>();
  const importing = useImport();
  const [refused, setRefused] = useState<UserError>();
  const error = refused ?? importing.error;
  const close = () => {
    setRefused(undefined);
    importing.reset();
  };
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
    const { files } = event.dataTransfer;
    const file = files.item(0);
    if (file === null) return;
    if (files.length > 1) {
      const what = `${files.length} files were dropped at once, and none was taken`;
      setRefused(new UserError('drop/several', what, 'Drop them one after the other.'));
    } else if (taker === undefined) importing.mutate({ file });
    else taker.take(file);
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
      <TakerContext value={setTaker}>{children}</TakerContext>
      {over && (
        <div className="drop-cover">
          <div>
            <Icon name="up" size={28} />
            <strong>{taker?.words ?? 'Drop to import as a data set'}</strong>
            <span>{taker?.note ?? DATA_NOTE}</span>
          </div>
        </div>
      )}
      {importing.isPending && (
        <div className="drop-progress" role="status">
          Reading {'file' in importing.variables ? importing.variables.file.name : 'the file'}…
        </div>
      )}
      <Dialog open={error !== null} title={NOT_IMPORTED} onClose={close}>
        {error !== null && <ErrorNote titled what={NOT_IMPORTED} error={toErrorInfo(error)} />}
        <div className="dialog-actions">
          <Button onClick={close}>Close</Button>
        </div>
      </Dialog>
    </div>
  );
}
