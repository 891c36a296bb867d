/**
 * Who may speak with the browser host. It listens on loopback only, but every page in every browser of the machine can
 * reach loopback, so each request must show that it comes from the page this host served and knows the token.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** Name of the WebSocket subprotocol that carries the messages. */
export const PROTOCOL = 'condenser.1';
/**
 * Prefix of the subprotocol that carries the token: not in a URL, which logs and histories keep, and not in a cookie,
 * which all ports of 127.0.0.1 share.
 */
const TOKEN_PROTOCOL = 'condenser.t.';

/** Why a request is refused: an HTTP status and a short text. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
}

/** 256 random bits, safe in a URL. */
export function newToken(): string {
  return randomBytes(32).toString('base64url');
}

/** Judges requests to the host at `port`. */
export interface Gate {
  /** A page or file. */
  checkRequest(request: IncomingMessage): Refusal | null;
  /** An upload: like a request, with the token as bearer and our own page as origin. */
  checkUpload(request: IncomingMessage): Refusal | null;
  /** The WebSocket upgrade. */
  checkUpgrade(request: IncomingMessage): Refusal | null;
}

/** A gate for `token`. */
export function createGate(port: number, token: string): Gate {
  const hosts = new Set([`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`]);
  const expected = digest(token);
  // Digests have equal length, which the comparison in constant time asks for.
  const isToken = (given: string): boolean => timingSafeEqual(digest(given), expected);

  // A name that an attacker points to 127.0.0.1 arrives here as the Host header.
  const checkHost = ({ headers }: IncomingMessage): Refusal | null =>
    hosts.has(headers.host ?? '') ? null : { status: 421, reason: 'this host is not called that' };

  const checkSite = ({ headers }: IncomingMessage): Refusal | null => {
    const site = headers['sec-fetch-site'];
    const foreign =
      site === 'cross-site' || (site === 'same-site' && headers['sec-fetch-mode'] !== 'navigate');
    return foreign ? { status: 403, reason: 'requests from other pages are refused' } : null;
  };

  const checkOrigin = ({ headers }: IncomingMessage): Refusal | null =>
    headers.origin === `http://${headers.host}`
      ? null
      : { status: 403, reason: 'not from the page of this host' };

  return {
    checkRequest: (request) => checkHost(request) ?? checkSite(request),
    checkUpload: (request) => {
      const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
      return (
        checkHost(request) ??
        checkSite(request) ??
        checkOrigin(request) ??
        (isToken(bearer) ? null : { status: 401, reason: 'wrong token' })
      );
    },
    checkUpgrade: (request) => {
      const protocols = (request.headers['sec-websocket-protocol'] ?? '')
        .split(',')
        .map((name) => name.trim());
      const given = protocols.find((name) => name.startsWith(TOKEN_PROTOCOL))?.slice(TOKEN_PROTOCOL.length);
      const checked = checkHost(request) ?? checkOrigin(request);
      if (checked) return checked;
      if (request.url !== '/ws') return { status: 404, reason: 'the socket is at /ws' };
      if (!protocols.includes(PROTOCOL)) return { status: 400, reason: `expected protocol ${PROTOCOL}` };
      return given !== undefined && isToken(given) ? null : { status: 401, reason: 'wrong token' };
    },
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
