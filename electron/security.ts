/** What the page may not do: every door that Electron leaves open by default is shut here. */
import type { App, Session } from 'electron';

/** Scheme and host of the page. */
export const PAGE_SCHEME = 'app';
const PAGE_HOST = 'ui';
/** Where the window starts. */
export const PAGE_URL = `${PAGE_SCHEME}://${PAGE_HOST}/`;

/** Sent with every response: only own scripts, no connection but to the page's own files. */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'", // The component library sets inline styles.
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "object-src 'none'",
].join('; ');

/** Whether `url` is a page of this application. `URL.origin` would be 'null' for a scheme of our own. */
export function isOwnPage(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, host } = new URL(url);
  return protocol === `${PAGE_SCHEME}:` && host === PAGE_HOST;
}

/** Refuses navigation, new windows and embedded web views in every page that will ever exist. */
export function hardenPages(app: App): void {
  app.on('web-contents-created', (_event, contents) => {
    const keepHome = (event: { readonly url: string; preventDefault(): void }): void => {
      if (!isOwnPage(event.url)) event.preventDefault();
    };
    contents.on('will-navigate', keepHome);
    contents.on('will-frame-navigate', keepHome);
    contents.on('will-redirect', keepHome);
    contents.on('will-attach-webview', (event) => event.preventDefault());
    contents.setWindowOpenHandler(() => ({ action: 'deny' }));
  });
}

/** Schemes that never leave the machine. */
const LOCAL_SCHEMES = new Set([`${PAGE_SCHEME}:`, 'devtools:', 'data:', 'blob:']);

/**
 * Denies every permission and device and cancels every request that would leave the machine.
 * Returns how many requests were cancelled so far.
 */
export function hardenSession(session: Session): () => number {
  session.setPermissionRequestHandler((_contents, _permission, answer) => answer(false));
  session.setPermissionCheckHandler(() => false);
  session.setDevicePermissionHandler(() => false);
  session.setSpellCheckerEnabled(false); // It would fetch dictionaries.
  let cancelled = 0;
  session.webRequest.onBeforeRequest((details, answer) => {
    const cancel = !LOCAL_SCHEMES.has(new URL(details.url).protocol);
    if (cancel) cancelled++;
    answer({ cancel });
  });
  return () => cancelled;
}
