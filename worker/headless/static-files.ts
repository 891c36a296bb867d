/** Serves the built page. */
import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
};

/** Headers of every answer; `host` is the name the browser used. */
export function securityHeaders(host: string): Record<string, string> {
  return {
    'content-security-policy': [
      "default-src 'none'",
      "script-src 'self'",
      // The components put style attributes and elements into the page.
      "style-src 'self' 'unsafe-inline'",
      "img-src 'self' data: blob:",
      "font-src 'self'",
      `connect-src 'self' ws://${host}`,
      "worker-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "object-src 'none'",
    ].join('; '),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': 'no-store',
  };
}

/** Answers a GET or HEAD with the file below `root` that the URL names. */
export async function serveStatic(
  root: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const file = await fileBelow(root, request.url ?? '/');
  if (typeof file === 'number') {
    response.writeHead(file).end();
    return;
  }
  const { size } = await stat(file);
  response.writeHead(200, {
    'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream',
    'content-length': size,
  });
  if (request.method === 'HEAD') response.end();
  else await pipeline(createReadStream(file), response);
}

/** The file that `url` names, or the status that says why there is none. */
async function fileBelow(root: string, url: string): Promise<string | 400 | 404> {
  // Not `new URL`: it would resolve `..` before it can be refused.
  const [rawPath = '/'] = url.split(/[?#]/);
  let name: string;
  try {
    name = decodeURIComponent(rawPath);
  } catch {
    return 400; // Not a percent-encoding.
  }
  if (name.includes('\0') || name.includes('\\') || name.split('/').includes('..')) return 400;
  const realRoot = await realpath(root);
  try {
    const file = await realpath(path.join(realRoot, name === '/' ? 'index.html' : name));
    // A link may lead out of the folder.
    if (!file.startsWith(realRoot + path.sep)) return 404;
    return (await stat(file)).isFile() ? file : 404;
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return 404;
    throw error;
  }
}
