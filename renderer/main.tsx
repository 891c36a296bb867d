// The content security policy forbids eval; zod would probe for it.
import './zod-config.ts';
import '@fontsource-variable/inter/wght.css';
import '@fontsource-variable/jetbrains-mono/wght.css';
import './ui/tokens.css';
import './ui/base.css';
import './ui/controls.css';
import './ui/surfaces.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { invariant } from '#core/contract/errors.ts';
import { connect } from './api/client.ts';
import { App } from './app.tsx';
import { applyTheme, rememberedTheme } from './features/settings/index.ts';

applyTheme(rememberedTheme());
const root = document.getElementById('root');
invariant(root !== null, 'index.html has no #root');
createRoot(root).render(
  <StrictMode>
    <App client={connect()} />
  </StrictMode>,
);
