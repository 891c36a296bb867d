import { useEffect } from 'react';
import type { Settings } from '#core/contract/settings.ts';
import { useCall } from '../../api/use-host.ts';

type Theme = Settings['theme'];
const KEY = 'condenser.theme';

/** Shows `theme` now, and at the next start before the host has answered. */
export function applyTheme(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
  localStorage.setItem(KEY, theme);
}

/** The theme of the last start. */
export function rememberedTheme(): Theme {
  const theme = localStorage.getItem(KEY);
  return theme === 'light' || theme === 'dark' ? theme : 'system';
}

/** Keeps the shown theme equal to the setting. */
export function useTheme(): void {
  const theme = useCall('app.settings', undefined).data?.theme;
  useEffect(() => {
    if (theme !== undefined) applyTheme(theme);
  }, [theme]);
}
