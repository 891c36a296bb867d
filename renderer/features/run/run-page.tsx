import { useEffect, useMemo, useState } from 'react';
import { Link } from 'wouter';
import { isEnded } from '#core/contract/run-state.ts';
import { useCall } from '../../api/use-host.ts';
import { PageHead } from '../../ui/card.tsx';
import { EmptyState, ErrorNote, Loaded } from '../../ui/states.tsx';
import type { RunDetail } from '#core/contract/run.ts';
import type { Quantity } from './curves.ts';
import { CurveCard } from './curve-card.tsx';
import { EventsCard } from './events-card.tsx';
import { ExpertDialog } from './expert-dialog.tsx';
import type { ExpertPlace } from './expert-history.ts';
import { ExpertsCard } from './experts-card.tsx';
import { ExportCard } from './export-card.tsx';
import { FactsCard } from './facts-card.tsx';
import { LayersCard } from './layers-card.tsx';
import { LookAtCard } from './look-at-card.tsx';
import { Measures } from './measures.tsx';
import { RunHead } from './run-head.tsx';
import { RunNotices } from './run-notices.tsx';
import { ScoresCard } from './scores-card.tsx';
import { Scrubber } from './scrubber.tsx';
import { useRouting } from './use-routing.ts';
import { useRunData } from './use-run-data.ts';
import './run.css';

/** How often a run that has a worker is asked for its heartbeat. */
const HEARTBEAT_EVERY_MS = 4000;

const before: Partial<Record<RunDetail['state'], string>> = {
  draft: 'This run has not been started.',
  queued: 'Waiting for the run before it to end; it starts by itself.',
  preparing: 'Preparing: the model and the data are being read. The first step appears here.',
  running: 'The first step is being computed. Its numbers appear here.',
  paused: 'Paused before the first step.',
};

function Run({ detail, askedMs }: { readonly detail: RunDetail; readonly askedMs: number }) {
  const [data, retry] = useRunData(detail.id);
  const [at, setAt] = useState<number>();
  const [quantity, setQuantity] = useState<Quantity>('loss');
  const [expert, setExpert] = useState<ExpertPlace>();
  const { facts } = detail;
  const lastStep = data.steps.at(-1)?.step;
  const shownAt = at === undefined || lastStep === undefined || at >= lastStep ? undefined : at;
  const routing = useRouting(detail.id, facts, data, shownAt);
  const layerNames = useMemo(() => facts?.moeLayerIndices ?? [], [facts]);

  useEffect(() => {
    const live = (event: KeyboardEvent) => {
      const typing =
        event.target instanceof HTMLElement &&
        event.target.closest('input:not([type=range]), textarea') !== null;
      if (event.key === 'l' && !typing && !event.ctrlKey && !event.metaKey) setAt(undefined);
    };
    document.addEventListener('keydown', live);
    return () => document.removeEventListener('keydown', live);
  }, []);

  const shown = useMemo(
    () => (shownAt === undefined ? data.steps : data.steps.filter((step) => step.step <= shownAt)),
    [data.steps, shownAt],
  );
  return (
    <>
      <RunHead detail={detail} data={data} />
      <RunNotices detail={detail} askedMs={askedMs} />
      {data.status === 'error' && data.error !== undefined && (
        <ErrorNote what="The newest numbers could not be read" error={data.error} onRetry={retry} />
      )}
      {data.status !== 'loading' && data.steps.length === 0 && (
        <EmptyState text={before[detail.state] ?? 'The run ended before its first step.'} />
      )}
      {data.steps.length > 0 && (
        <>
          <Measures steps={shown} chosen={quantity} onChoose={setQuantity} />
          <div className={(facts?.experts ?? 0) > 96 ? 'run-grid single' : 'run-grid'}>
            <CurveCard
              detail={detail}
              data={data}
              quantity={quantity}
              onQuantity={setQuantity}
              at={shownAt}
              onPick={setAt}
            />
            <ExpertsCard
              routing={routing}
              facts={facts}
              at={shownAt}
              onOpen={(row, id) => setExpert({ row, expert: id })}
            />
          </div>
          <div className="run-grid">
            <LookAtCard
              id={detail.id}
              at={shownAt}
              live={!isEnded(detail.state)}
              layerNames={layerNames}
              onStep={setAt}
              onExpert={setExpert}
            />
            <LayersCard layers={routing.layers} layerNames={layerNames} />
          </div>
        </>
      )}
      {isEnded(detail.state) && <ScoresCard detail={detail} />}
      {isEnded(detail.state) && detail.checkpoints.length > 0 && <ExportCard detail={detail} />}
      <div className="run-grid">
        <EventsCard events={data.events} loading={data.status === 'loading'} onStep={setAt} />
        <FactsCard detail={detail} />
      </div>
      {data.steps.length > 1 && (
        <Scrubber
          first={data.steps[0]?.step ?? 0}
          last={lastStep ?? 0}
          at={shownAt}
          events={data.events}
          live={!isEnded(detail.state)}
          onAt={setAt}
        />
      )}
      <ExpertDialog
        id={detail.id}
        facts={facts}
        place={expert}
        at={shownAt}
        onClose={() => setExpert(undefined)}
      />
    </>
  );
}

/** One run: is it going well, and what happens to the experts? */
export function RunPage({ id }: { readonly id: string }) {
  const [active, setActive] = useState(true);
  const detail = useCall('runs.get', { id }, active ? { everyMs: HEARTBEAT_EVERY_MS } : {});
  const ended = detail.data !== undefined && isEnded(detail.data.state);
  useEffect(() => setActive(!ended && detail.error === null), [ended, detail.error]);
  return (
    <>
      {detail.data === undefined && <PageHead title="Run" />}
      <Loaded query={detail} what="the run" lines={6}>
        {(value) => <Run detail={value} askedMs={detail.dataUpdatedAt} />}
      </Loaded>
      {detail.error !== null && detail.data === undefined && (
        <p>
          <Link href="/runs">All runs</Link>
        </p>
      )}
    </>
  );
}
