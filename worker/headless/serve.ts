/** The workbench in a browser: the page and one WebSocket on a loopback port. */
import { existsSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { toErrorInfo, UserError } from '#core/contract/errors.ts';
import type { Host } from '#core/host/index.ts';
import { createLink, serveLink } from '#core/link/index.ts';
import { fromRoot } from '#core/process/program-root.ts';
import { createGate, type Gate, newToken, PROTOCOL, type Refusal } from './auth.ts';
import { composeHost, type ComposeOptions } from './compose-host.ts';
import { dataFolder } from './host-ports.ts';
import { receiveUpload } from './receive-upload.ts';
import { securityHeaders, serveStatic } from './static-files.ts';

/** Largest message from the page; a run specification with long lists of files is far smaller. */
const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;
/** Bytes waiting for a slow page from which on notices are dropped. */
const CONGESTED_BYTES = 4 * 1024 * 1024;

/** Options of `serve`. */
export interface ServeOptions extends ComposeOptions {
  /** 0: any free one. */
  readonly port?: number;
  /** Folder of the built page. */
  readonly page?: string;
  /** The host to serve, when it exists already. */
  readonly host?: Host;
}

/** A running browser host. */
export interface Served {
  /** With the token in its fragment, which browsers do not send. */
  readonly url: string;
  readonly port: number;
  /** Closes connections, lets runs save, and frees the data folder. */
  close(): Promise<void>;
}

/**
 * Listens on loopback. There is no option for other addresses: to use the workbench from another machine, forward the
 * port with ssh.
 * @throws UserError `serve/no-page`, `serve/port`, and those of `composeHost`.
 */
export async function serve(options: ServeOptions = {}): Promise<Served> {
  const page = options.page ?? fromRoot('out/renderer');
  if (!existsSync(path.join(page, 'index.html'))) {
    throw new UserError('serve/no-page', `${page}: the page is not built`, 'Run: npm run build');
  }
  const server = createServer();
  const port = await listen(server, options.port ?? 0);
  const token = newToken();
  const gate = createGate(port, token);
  let host: Host;
  try {
    host = options.host ?? composeHost(options);
  } catch (error) {
    server.close();
    throw error;
  }
  const uploads = path.join(path.resolve(options.home ?? dataFolder()), 'uploads');
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    handleProtocols: () => PROTOCOL,
  });

  server.on('request', (request, response) => {
    answer(request, response, { gate, page, uploads, host }).catch((error: unknown) => {
      // The browser went away in the middle, or the disk failed: this answer is lost, the next one need not be.
      if (!request.destroyed) console.error(error);
      response.destroy();
    });
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const refusal = gate.checkUpgrade(request);
    if (refusal) {
      socket.end(`HTTP/1.1 ${refusal.status} Refused\r\nConnection: close\r\n\r\n`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      serveLink(socketLink(webSocket), host);
    });
  });

  return {
    url: `http://127.0.0.1:${port}/#token=${token}`,
    port,
    close: async () => {
      for (const client of sockets.clients) client.terminate();
      server.close();
      server.closeAllConnections();
      if (!options.host) await host.close();
    },
  };
}

interface Site {
  readonly gate: Gate;
  readonly page: string;
  readonly uploads: string;
  readonly host: Host;
}

async function answer(request: IncomingMessage, response: ServerResponse, site: Site): Promise<void> {
  for (const [name, value] of Object.entries(securityHeaders(request.headers.host ?? ''))) {
    response.setHeader(name, value);
  }
  const isUpload = request.method === 'POST' && /^\/upload(\?|$)/.test(request.url ?? '');
  const refusal = isUpload ? site.gate.checkUpload(request) : site.gate.checkRequest(request);
  if (refusal) refuse(response, refusal);
  else if (isUpload) await upload(request, response, site);
  else if (request.method === 'GET' || request.method === 'HEAD') {
    await serveStatic(site.page, request, response);
  } else refuse(response, { status: 405, reason: 'only GET, HEAD and uploads' });
}

async function upload(request: IncomingMessage, response: ServerResponse, site: Site): Promise<void> {
  try {
    const file = await receiveUpload(request, site.uploads);
    sendJson(response, 200, await site.host.registerFile(file));
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    // The rest of the body is not read: the connection cannot be used again.
    response.setHeader('connection', 'close');
    sendJson(response, error.code === 'upload/too-large' ? 413 : 400, toErrorInfo(error));
  }
}

function refuse(response: ServerResponse, { status, reason }: Refusal): void {
  response.setHeader('connection', 'close');
  sendJson(response, status, { code: 'host/refused', message: reason });
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** A link over a WebSocket: one JSON text for each message. */
function socketLink(socket: WebSocket) {
  const end = createLink({
    send: (message) => socket.send(JSON.stringify(message)),
    congested: () => socket.bufferedAmount > CONGESTED_BYTES,
    close: () => socket.close(1002),
  });
  socket.on('message', (data, isBinary) => {
    const message = isBinary || !Buffer.isBuffer(data) ? undefined : parseJson(data.toString());
    if (message === undefined) end.link.close();
    else end.receive(message);
  });
  // Too large a message, or a broken frame: 'close' follows.
  socket.on('error', () => undefined);
  socket.on('close', () => end.closed());
  return end.link;
}

/** Undefined for what is not JSON: the page never sends that. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function listen(server: ReturnType<typeof createServer>, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      reject(
        new UserError(
          'serve/port',
          `cannot listen on port ${port}: ${error.message}`,
          'Choose another with --port.',
        ),
      );
    });
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}
