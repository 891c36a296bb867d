import { Link, useLocation } from 'wouter';
import { toErrorInfo } from '#core/contract/errors.ts';
import { useCall, useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card, PageHead } from '../../ui/card.tsx';
import { DeviceFacts } from '../../ui/device-facts.tsx';
import { Icon } from '../../ui/icons.tsx';
import { EmptyState, ErrorNote, Loaded } from '../../ui/states.tsx';
import { ImportControls, useImport } from '../drop/index.ts';
import { RunTable } from '../runs/index.ts';
import './home.css';

/** Runs shown before "all runs". */
const RECENT = 6;

/** Recent runs, the sample, a place to drop data, and the machine. */
export function HomePage() {
  const runs = useCall('runs.list', undefined);
  const device = useCall('app.device', undefined);
  const sample = useCommand('sample.start', ['runs.list', 'models.list', 'datasets.list']);
  const importing = useImport();
  const [, navigate] = useLocation();
  const trySample = () =>
    sample.mutate(undefined, {
      onSuccess: ({ runs: ids }) => navigate(ids[0] === undefined ? '/runs' : `/runs/${ids[0]}`),
    });
  return (
    <>
      <PageHead title="Home" />
      {sample.error !== null && (
        <ErrorNote what="The sample did not start" error={toErrorInfo(sample.error)} />
      )}
      <div className="home-start">
        <section className="home-sample" aria-labelledby="home-sample">
          <h2 id="home-sample">See it work on the sample</h2>
          <p>
            A tiny Mixture-of-Experts model and a data set come with the app. Two runs on equal terms, full
            fine-tuning and expert condensers, show what each does to every expert.
          </p>
          <div className="row">
            <Button look="primary" disabled={sample.isPending} onClick={trySample}>
              {sample.isPending ? 'Starting…' : 'Try the sample'}
            </Button>
            <Link href="/new" className="button">
              New run
            </Link>
          </div>
        </section>
        <section className="home-drop" aria-labelledby="home-drop">
          <Icon name="up" size={22} />
          <h2 id="home-drop">Drop a data set anywhere on this page</h2>
          <p>JSONL, JSON, CSV, TSV or Parquet. It stays on this machine.</p>
          <ImportControls
            kind="data"
            busy={importing.isPending}
            onPick={(picked) => importing.mutate(picked)}
            onError={() => navigate('/data')}
          />
          {importing.error !== null && (
            <ErrorNote what="The file was not imported" error={toErrorInfo(importing.error)} />
          )}
        </section>
      </div>
      <div className="home-grid">
        <Card title="Recent runs" flush aside={<Link href="/runs">All runs</Link>}>
          <Loaded query={runs} what="the runs" lines={4}>
            {(list) =>
              list.length === 0 ? (
                <EmptyState inset text="No run yet. The sample makes the first two." />
              ) : (
                <RunTable brief runs={[...list].sort((a, b) => b.createdMs - a.createdMs).slice(0, RECENT)} />
              )
            }
          </Loaded>
        </Card>
        <Card title="This machine">
          <Loaded query={device} what="the device" lines={5}>
            {(value) => <DeviceFacts device={value} />}
          </Loaded>
        </Card>
      </div>
    </>
  );
}
