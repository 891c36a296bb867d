/** Serves the built page under `app://ui/`, so that it needs neither file:// nor a server. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Protocol } from 'electron';
import { CONTENT_SECURITY_POLICY, isOwnPage, PAGE_SCHEME } from './security.ts';

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
};

/** Must run before `ready`. */
export function registerPageScheme(protocol: Protocol): void {
  const privileges = { standard: true, secure: true, supportFetchAPI: true, codeCache: true };
  protocol.registerSchemesAsPrivileged([{ scheme: PAGE_SCHEME, privileges }]);
}

/** Answers requests for the page with files below `folder`. */
export function servePage(protocol: Protocol, folder: string): void {
  protocol.handle(PAGE_SCHEME, async (request) => {
    if (!isOwnPage(request.url)) return refusal(404);
    if (request.method !== 'GET' && request.method !== 'HEAD') return refusal(405);
    const file = fileFor(new URL(request.url).pathname, folder);
    if (file === undefined) return refusal(400);
    const body = await readFile(file).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    if (body === undefined) return refusal(404);
    const type = CONTENT_TYPES[path.extname(file)] ?? 'application/octet-stream';
    return new Response(request.method === 'HEAD' ? null : body, { headers: headers(type) });
  });
}

/** The file that a URL path names, or undefined when that lies outside `folder` or is no path at all. */
function fileFor(pathname: string, folder: string): string | undefined {
  let name: string;
  try {
    name = decodeURIComponent(pathname);
  } catch {
    return undefined; // A stray percent sign.
  }
  if (name.includes('\0') || name.includes('\\')) return undefined;
  const file = path.join(folder, name === '/' ? 'index.html' : name);
  return file.startsWith(folder + path.sep) ? file : undefined;
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'EISDIR');

const refusal = (status: number): Response => new Response(null, { status, headers: headers('text/plain') });

const headers = (type: string): Record<string, string> => ({
  'content-type': type,
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
});
