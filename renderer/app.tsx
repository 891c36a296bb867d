/** The frame around every page: navigation, connection state, keyboard, drop zone. */
import { Tooltip as TooltipBase } from '@base-ui/react/tooltip';
import { type QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { useLayoutEffect, useMemo, useState } from 'react';
import { Link, Route, Router, Switch, useLocation } from 'wouter';
import { useHashLocation } from 'wouter/use-hash-location';
import type { Client } from './api/client.ts';
import { ClientContext, createQueryClient, useCall, useStaleOnNotice } from './api/use-host.ts';
import './app.css';
import { ConnectionBanner } from './features/connection/index.ts';
import { DropZone } from './features/drop/index.ts';
import { SearchDialog, ShortcutsDialog, useShortcuts } from './features/keyboard/index.ts';
import { useTheme } from './features/settings/index.ts';
import { navigation, routes } from './routes.tsx';
import { PageHead } from './ui/card.tsx';
import { providerName } from './ui/device-facts.tsx';
import { formatCount, formatMB } from './ui/format.ts';
import { Brand, Icon } from './ui/icons.tsx';
import { EmptyState } from './ui/states.tsx';
import { Tooltip } from './ui/tooltip.tsx';

function NavFoot() {
  const device = useCall('app.device', undefined, { everyMs: 30_000 });
  const info = useCall('app.info', undefined, { everyMs: 30_000 });
  return (
    <div className="nav-foot num">
      {device.data && (
        <>
          <div>
            {providerName(device.data.providers.find((provider) => provider.used)?.name ?? 'cpu')} ·{' '}
            {device.data.cpu.cores} cores
          </div>
          <div>
            {formatMB(device.data.memoryMB.available)} of {formatMB(device.data.memoryMB.total)} free
          </div>
        </>
      )}
      {info.data && (
        <div>
          {formatCount(info.data.networkRequests)} network{' '}
          {info.data.networkRequests === 1 ? 'request' : 'requests'}
        </div>
      )}
    </div>
  );
}

function Navigation() {
  const [path] = useLocation();
  const current = (target: string) =>
    target === '/' ? path === '/' : path === target || path.startsWith(`${target}/`);
  return (
    <nav className="nav" aria-label="Main">
      <div className="nav-brand">
        <Brand />
        <span className="nav-word">Condenser</span>
      </div>
      <Link href="/new" className="button primary nav-new" aria-label="New run">
        <Icon name="plus" size={14} />
        <span className="nav-word">New run</span>
      </Link>
      {navigation.map((entry) => (
        <Tooltip key={entry.path} text={`${entry.title} · G ${entry.letter.toUpperCase()}`} side="right">
          <Link
            href={entry.path}
            className="nav-link"
            aria-current={current(entry.path) ? 'page' : undefined}
          >
            <Icon name={entry.icon} />
            <span className="nav-spoken visually-hidden">{entry.title}</span>
            <span className="nav-word" aria-hidden="true">
              {entry.title}
            </span>
            <span className="nav-key nav-word" aria-hidden="true">
              G {entry.letter.toUpperCase()}
            </span>
          </Link>
        </Tooltip>
      ))}
      <NavFoot />
    </nav>
  );
}

function Frame() {
  useStaleOnNotice();
  useTheme();
  const [dialog, setDialog] = useState<'search' | 'shortcuts'>();
  const [path, navigate] = useLocation();
  // Which runs are compared or reported on is a choice on the page, not another page.
  const page = path.replace(/^(\/compare|\/report)\/.*/, '$1');
  useLayoutEffect(() => {
    // Newer browsers return a promise, which React would take for a way to clean up.
    window.scrollTo(0, 0);
  }, [page]);
  useShortcuts(navigation, {
    go: navigate,
    search: () => setDialog('search'),
    help: () => setDialog('shortcuts'),
  });
  const close = () => setDialog(undefined);
  return (
    <DropZone>
      <a className="skip-link" href="#main" onClick={skipToMain}>
        Skip to the page
      </a>
      <div className="app">
        <Navigation />
        <main id="main" tabIndex={-1}>
          <ConnectionBanner />
          <Switch>
            {routes.map((route) => (
              <Route key={route.path} path={route.path}>
                {(params) => <div className="page">{route.page(params)}</div>}
              </Route>
            ))}
            <Route>
              <div className="page">
                <PageHead title="No such page" />
                <EmptyState text="There is no page at this address.">
                  <Link href="/" className="button">
                    Go home
                  </Link>
                </EmptyState>
              </div>
            </Route>
          </Switch>
        </main>
      </div>
      <SearchDialog open={dialog === 'search'} onClose={close} pages={navigation} />
      <ShortcutsDialog open={dialog === 'shortcuts'} onClose={close} pages={navigation} />
    </DropZone>
  );
}

/** Moves focus without touching the address, whose fragment is the page. */
function skipToMain(event: { preventDefault(): void }): void {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

/** The app over a connected client. */
export function App({ client, queries }: { readonly client: Client; readonly queries?: QueryClient }) {
  const queryClient = useMemo(() => queries ?? createQueryClient(), [queries]);
  return (
    <ClientContext value={client}>
      <QueryClientProvider client={queryClient}>
        <TooltipBase.Provider delay={400}>
          <Router hook={useHashLocation}>
            <Frame />
          </Router>
        </TooltipBase.Provider>
      </QueryClientProvider>
    </ClientContext>
  );
}
