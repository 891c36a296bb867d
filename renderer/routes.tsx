/** Every page, its address and its place in the navigation. */
import type { ReactNode } from 'react';
import { ComparePage } from './features/compare/index.ts';
import { DataPage } from './features/data/index.ts';
import { HomePage } from './features/home/index.ts';
import { ModelsPage } from './features/models/index.ts';
import { NewRunPage } from './features/new-run/index.ts';
import { ReportPage } from './features/report/index.ts';
import { RunPage } from './features/run/index.ts';
import { RunsPage } from './features/runs/index.ts';
import { SettingsPage } from './features/settings/index.ts';
import type { IconName } from './ui/icons.tsx';

/** A page of the navigation; `letter` follows G on the keyboard. */
export interface NavEntry {
  readonly path: string;
  readonly title: string;
  readonly letter: string;
  readonly icon: IconName;
}

/** The navigation, in order. */
export const navigation: readonly NavEntry[] = [
  { path: '/', title: 'Home', letter: 'h', icon: 'home' },
  { path: '/models', title: 'Models', letter: 'm', icon: 'models' },
  { path: '/data', title: 'Data', letter: 'd', icon: 'data' },
  { path: '/runs', title: 'Runs', letter: 'r', icon: 'runs' },
  { path: '/compare', title: 'Compare', letter: 'c', icon: 'compare' },
  { path: '/report', title: 'Report', letter: 'e', icon: 'report' },
  { path: '/settings', title: 'Settings', letter: 's', icon: 'settings' },
];

/** A page by its address; `:ids` are run ids joined by commas. */
export const routes: readonly { readonly path: string; readonly page: (params: RouteParams) => ReactNode }[] =
  [
    { path: '/', page: () => <HomePage /> },
    { path: '/models', page: () => <ModelsPage /> },
    { path: '/data', page: () => <DataPage /> },
    { path: '/data/:id', page: ({ id }) => <DataPage {...(id !== undefined && { id })} /> },
    { path: '/new', page: () => <NewRunPage /> },
    { path: '/new/model/:id', page: ({ id }) => <NewRunPage {...(id !== undefined && { modelId: id })} /> },
    { path: '/new/data/:id', page: ({ id }) => <NewRunPage {...(id !== undefined && { datasetId: id })} /> },
    { path: '/runs', page: () => <RunsPage /> },
    { path: '/runs/:id', page: ({ id }) => <RunPage key={id} id={id ?? ''} /> },
    { path: '/compare', page: () => <ComparePage ids={[]} /> },
    { path: '/compare/:ids', page: ({ ids }) => <ComparePage ids={ids?.split(',') ?? []} /> },
    { path: '/report', page: () => <ReportPage ids={[]} /> },
    { path: '/report/:ids', page: ({ ids }) => <ReportPage ids={ids?.split(',') ?? []} /> },
    { path: '/settings', page: () => <SettingsPage /> },
  ];

/** Named parts of an address. */
export type RouteParams = Readonly<Record<string, string | undefined>>;
