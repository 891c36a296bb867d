import { useEffect, useState } from 'react';
import { useConnection } from '../../api/use-host.ts';
import { ErrorNote } from '../../ui/states.tsx';
import { formatDuration } from '../../ui/format.ts';
import './connection-banner.css';

/** Shorter interruptions are not worth a banner: the client reconnects in between. */
const QUIET_MS = 2000;
/** After this long the host was probably started again, with another token. */
const RESTARTED_MS = 30_000;

/** A line over the page while there is no connection to the host. */
export function ConnectionBanner() {
  const connection = useConnection();
  const [nowMs, setNowMs] = useState(Date.now);
  const lost = connection.state !== 'open';
  useEffect(() => {
    if (!lost) return undefined;
    setNowMs(Date.now());
    const timer = setInterval(() => setNowMs(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [lost]);
  if (connection.error !== undefined) {
    return (
      <div className="connection-error">
        <ErrorNote what="No connection to the host" error={connection.error} />
      </div>
    );
  }
  const forMs = nowMs - connection.sinceMs;
  if (!lost || forMs < QUIET_MS) return null;
  return (
    <div className="connection-banner" role="status">
      No connection to the host for {formatDuration(forMs / 1000)}. The page reads on from where it was once
      it is back.
      {forMs > RESTARTED_MS && ' If the host was started again, open the address that it prints.'}
    </div>
  );
}
