/** The user's choices that hold for every run, and the theme. */
export { SettingsPage } from './settings-page.tsx';
export { applyTheme, rememberedTheme, useTheme } from './theme.ts';
