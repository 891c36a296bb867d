import { type KeyboardEvent, useMemo, useState } from 'react';
import { useLocation } from 'wouter';
import { useCall } from '../../api/use-host.ts';
import { Dialog } from '../../ui/dialog.tsx';
import type { Destination } from './use-shortcuts.ts';
import './keyboard.css';

interface Hit {
  readonly path: string;
  readonly title: string;
  readonly kind: string;
}

/** Entries that hold every word of `query`, in any order. */
function matching<T extends { readonly title: string; readonly kind: string }>(
  entries: readonly T[],
  query: string,
): readonly T[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter((entry) =>
    words.every((word) => `${entry.title} ${entry.kind}`.toLowerCase().includes(word)),
  );
}

/** Finds pages, runs, models and data sets by name. */
export function SearchDialog({
  open,
  pages,
  onClose,
}: {
  readonly open: boolean;
  readonly pages: readonly Destination[];
  readonly onClose: () => void;
}) {
  return (
    <Dialog open={open} title="Search" onClose={onClose}>
      <Search pages={pages} onClose={onClose} />
    </Dialog>
  );
}

function Search({
  pages,
  onClose,
}: {
  readonly pages: readonly Destination[];
  readonly onClose: () => void;
}) {
  const [query, setQuery] = useState('');
  const [active, setActive] = useState(0);
  const [, navigate] = useLocation();
  const runs = useCall('runs.list', undefined);
  const models = useCall('models.list', undefined);
  const datasets = useCall('datasets.list', undefined);
  const hits = useMemo(() => {
    const all: Hit[] = [
      ...(runs.data ?? []).map((run) => ({ path: `/runs/${run.id}`, title: run.name, kind: 'run' })),
      ...(models.data ?? []).map((model) => ({ path: '/models', title: model.name, kind: 'model' })),
      ...(datasets.data ?? []).map((set) => ({ path: `/data/${set.id}`, title: set.name, kind: 'data' })),
      ...pages.map((page) => ({ path: page.path, title: page.title, kind: 'page' })),
    ];
    return matching(all, query).slice(0, 12);
  }, [runs.data, models.data, datasets.data, pages, query]);
  const open = (hit: Hit | undefined) => {
    if (hit === undefined) return;
    onClose();
    navigate(hit.path);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by !== undefined && hits.length > 0) {
      event.preventDefault();
      setActive((at) => (at + by + hits.length) % hits.length);
    } else if (event.key === 'Enter') open(hits[active]);
  };
  return (
    <>
      <input
        className="input"
        role="combobox"
        aria-label="Search runs, models, data and pages"
        aria-expanded="true"
        aria-controls="search-hits"
        aria-activedescendant={hits.length > 0 ? `search-hit-${active}` : undefined}
        placeholder="Runs, models, data, pages"
        value={query}
        onKeyDown={onKeyDown}
        onChange={(event) => {
          setQuery(event.target.value);
          setActive(0);
        }}
      />
      <div id="search-hits" role="listbox" aria-label="Found">
        {hits.map((hit, at) => (
          <div
            key={`${hit.kind} ${hit.path} ${hit.title}`}
            id={`search-hit-${at}`}
            role="option"
            tabIndex={-1}
            aria-selected={at === active}
            className="popup-item"
            data-highlighted={at === active ? '' : undefined}
            onPointerMove={() => setActive(at)}
            onPointerUp={() => open(hit)}
          >
            <span className="ellipsis">{hit.title}</span>
            <small>{hit.kind}</small>
          </div>
        ))}
      </div>
      {hits.length === 0 && <p className="muted">Nothing has that name.</p>}
    </>
  );
}
