/** The browser host against a hostile machine: other pages, wrong names, odd paths, odd messages. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { serve, type Served } from './serve.ts';

let root: string;
let served: Served;
let token: string;

beforeAll(async () => {
  root = mkdtempSync(path.join(os.tmpdir(), 'condenser-serve-'));
  const page = path.join(root, 'page');
  mkdirSync(path.join(page, 'assets'), { recursive: true });
  writeFileSync(path.join(page, 'index.html'), '<!doctype html><title>page</title>');
  writeFileSync(path.join(page, 'assets/app.js'), 'export {};');
  writeFileSync(path.join(root, 'secret.txt'), 'secret');
  symlinkSync(path.join(root, 'secret.txt'), path.join(page, 'link.txt'));
  symlinkSync(root, path.join(page, 'folder'));
  served = await serve({ home: path.join(root, 'home'), page });
  token = new URL(served.url).hash.slice('#token='.length);
});
afterAll(async () => {
  await served.close();
  rmSync(root, { recursive: true, force: true, maxRetries: 5 });
});

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** A request as a program sends it: nothing is normalised on the way. */
function request(
  url: string,
  {
    method = 'GET',
    headers = {},
    body,
  }: { method?: string; headers?: http.OutgoingHttpHeaders; body?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = http.request(
      { host: '127.0.0.1', port: served.port, path: url, method, headers },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('end', () =>
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

const own = () => `127.0.0.1:${served.port}`;

test('the address is one line: loopback, a port, and 256 bits in the fragment', () => {
  expect(served.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#token=[\w-]{43}$/);
});

test('the page comes with its security headers', async () => {
  const { status, headers, body } = await request('/');
  expect(status).toBe(200);
  expect(body).toContain('<title>page</title>');
  const policy = String(headers['content-security-policy']);
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("script-src 'self';");
  expect(policy).toContain(`connect-src 'self' ws://${own()};`);
  expect(headers).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': 'no-store',
  });
});

test('HEAD has the length and no body; other methods are refused', async () => {
  const head = await request('/assets/app.js?v=1', { method: 'HEAD' });
  expect([head.status, head.headers['content-length'], head.body]).toEqual([200, '10', '']);
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS'])
    expect((await request('/', { method })).status).toBe(405);
});

test.each([
  ['another name (DNS rebinding)', 'evil.example', 421],
  ['another name with our port', 'evil.example:PORT', 421],
  ['another port', '127.0.0.1:1', 421],
  ['no port', '127.0.0.1', 421],
  ['our address', '127.0.0.1:PORT', 200],
  ['localhost', 'localhost:PORT', 200],
])('Host %s', async (_what, host, status) => {
  expect((await request('/', { headers: { host: host.replace('PORT', String(served.port)) } })).status).toBe(
    status,
  );
});

test.each([
  ['cross-site', 'no-cors', 403],
  ['cross-site', 'navigate', 403],
  ['same-site', 'cors', 403],
  ['same-site', 'navigate', 200],
  ['same-origin', 'cors', 200],
  ['none', 'navigate', 200],
])('Sec-Fetch-Site %s, mode %s: %i', async (site, mode, status) => {
  const headers = { 'sec-fetch-site': site, 'sec-fetch-mode': mode };
  expect((await request('/', { headers })).status).toBe(status);
});

test.each([
  ['/../secret.txt', 400],
  ['/..%2fsecret.txt', 400],
  ['/%2e%2e/secret.txt', 400],
  ['/%2e%2e%2fsecret.txt', 400],
  ['/assets/..%2f..%2fsecret.txt', 400],
  ['/..\\secret.txt', 400],
  ['/%00', 400],
  ['/%zz', 400],
  ['/link.txt', 404],
  ['/folder/secret.txt', 404],
  ['/assets', 404],
  ['/assets/', 404],
  ['/index.html/x', 404],
  ['//etc/hostname', 404],
  ['/none', 404],
])('%s is %i', async (url, status) => {
  const answer = await request(url);
  expect(answer.status).toBe(status);
  expect(answer.body).not.toContain('secret');
});

interface Attempt {
  readonly origin?: string;
  readonly host?: string;
  readonly path?: string;
  readonly protocols?: readonly string[];
}

/** Opens the socket; resolves with it, or with the status of the refusal. */
function connect({ origin = `http://${own()}`, host, path: url = '/ws', protocols }: Attempt = {}) {
  const names = [...(protocols ?? ['condenser.1', `condenser.t.${token}`])];
  const socket = new WebSocket(`ws://${own()}${url}`, names, {
    origin,
    ...(host !== undefined && { headers: { host } }),
  });
  return new Promise<WebSocket | number>((resolve, reject) => {
    socket.on('open', () => resolve(socket));
    socket.on('unexpected-response', (_request, answer) => resolve(answer.statusCode ?? 0));
    socket.on('error', reject);
  });
}

async function opened(): Promise<WebSocket> {
  const socket = await connect();
  if (typeof socket === 'number') throw new Error(`refused with ${socket}`);
  return socket;
}

/** Sends `text` and resolves with the next message, or with the code of the close. */
function exchange(socket: WebSocket, text: string): Promise<unknown> {
  return new Promise((resolve) => {
    socket.once('message', (data: Buffer) => resolve(JSON.parse(data.toString())));
    socket.once('close', (code) => resolve(code));
    socket.send(text);
  });
}

test('the socket answers calls of the page', async () => {
  const socket = await opened();
  expect(socket.protocol).toBe('condenser.1');
  expect(await exchange(socket, JSON.stringify({ id: 1, method: 'app.info', input: null }))).toMatchObject({
    id: 1,
    ok: true,
    value: { shell: 'node', networkRequests: 0 },
  });
  socket.close();
});

test.each<[string, () => Attempt, number]>([
  ['a foreign origin', () => ({ origin: 'http://evil.example' }), 403],
  ['our address with another port', () => ({ origin: `http://127.0.0.1:${served.port + 1}` }), 403],
  ['https', () => ({ origin: `https://${own()}` }), 403],
  ['another of our names than the Host', () => ({ origin: `http://localhost:${served.port}` }), 403],
  ['a wrong Host', () => ({ host: 'evil.example' }), 421],
  ['a wrong token', () => ({ protocols: ['condenser.1', `condenser.t.${'A'.repeat(43)}`] }), 401],
  ['an empty token', () => ({ protocols: ['condenser.1', 'condenser.t.'] }), 401],
  ['no token', () => ({ protocols: ['condenser.1'] }), 401],
  ['no protocol', () => ({ protocols: [`condenser.t.${token}`] }), 400],
  ['another path', () => ({ path: '/' }), 404],
])('the socket refuses %s', async (_what, attempt, status) => {
  expect(await connect(attempt())).toBe(status);
});

test.each(['nothing.here', '__proto__.x', 'constructor.constructor', 'runs.__proto__', 'runs.changed'])(
  'the unknown method %s is refused and the socket lives on',
  async (method) => {
    const socket = await opened();
    expect(await exchange(socket, JSON.stringify({ id: 1, method, input: null }))).toMatchObject({
      ok: false,
      error: { code: 'host/unknown-call' },
    });
    expect(await exchange(socket, JSON.stringify({ id: 2, method: 'runs.list', input: null }))).toMatchObject(
      { ok: true },
    );
    socket.close();
  },
);

test('prototype keys in an input change nothing', async () => {
  const socket = await opened();
  const text = '{"id":1,"method":"app.updateSettings","input":{"__proto__":{"polluted":true}}}';
  await exchange(socket, text);
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  socket.close();
});

test.each([
  ['no JSON', '{'],
  ['no request', '[]'],
])('a message that is %s closes the socket', async (_what, text) => {
  expect(await exchange(await opened(), text)).toBe(1002);
});

test('a message that is too large closes the socket', async () => {
  const text = JSON.stringify({
    id: 1,
    method: 'files.register',
    input: { path: 'x'.repeat(9 * 1024 * 1024) },
  });
  expect(await exchange(await opened(), text)).toBe(1009);
});

const allowed = () => ({ origin: `http://${own()}`, authorization: `Bearer ${token}` });

test('an upload is copied below the data folder and becomes a handle', async () => {
  const body = '{"prompt":"a","response":"b"}\n';
  const answer = await request('/upload?name=my%20data.jsonl', { method: 'POST', headers: allowed(), body });
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.body)).toMatchObject({
    handle: expect.stringMatching(/^file_/) as string,
    name: 'my data.jsonl',
  });
  const uploads = path.join(root, 'home/uploads');
  const [folder = ''] = readdirSync(uploads);
  expect(readFileSync(path.join(uploads, folder, 'my data.jsonl'), 'utf8')).toBe(body);
});

test.each([
  ['..%2f..%2fevil.txt', 200, 'evil.txt'],
  ['..', 400, undefined],
  ['', 400, undefined],
  ['a%0Ab.txt', 200, 'ab.txt'],
])('the upload name %j stays inside its folder', async (name, status, kept) => {
  const answer = await request(`/upload?name=${name}`, { method: 'POST', headers: allowed(), body: 'x' });
  expect(answer.status).toBe(status);
  expect((JSON.parse(answer.body) as { name?: string }).name).toBe(kept);
});

test.each<[string, () => http.OutgoingHttpHeaders, number]>([
  ['no token', () => ({ origin: `http://${own()}` }), 401],
  ['a wrong token', () => ({ ...allowed(), authorization: `Bearer ${'A'.repeat(43)}` }), 401],
  ['a foreign origin', () => ({ ...allowed(), origin: 'http://evil.example' }), 403],
  ['no origin', () => ({ authorization: `Bearer ${token}` }), 403],
  ['a wrong Host', () => ({ ...allowed(), host: 'evil.example' }), 421],
  ['more than the disk holds', () => ({ ...allowed(), 'content-length': 1e15 }), 413],
])('an upload with %s is refused', async (_what, headers, status) => {
  // The refusal comes before the body does.
  const answer = await request('/upload?name=x', { method: 'POST', headers: headers(), body: '' }).catch(
    (error: unknown) => error,
  );
  expect(answer).toMatchObject({ status });
});

test('an interrupted upload leaves nothing behind', async () => {
  const uploads = path.join(root, 'home/uploads');
  const before = readdirSync(uploads).length;
  const sent = http.request({
    host: '127.0.0.1',
    port: served.port,
    path: '/upload?name=half.bin',
    method: 'POST',
    headers: { ...allowed(), 'content-length': 1000 },
  });
  sent.on('error', () => undefined);
  sent.write('half');
  await sleep(200);
  expect(readdirSync(uploads).length).toBe(before + 1);
  sent.destroy();
  await sleep(300);
  expect(readdirSync(uploads).length).toBe(before);
});

test('a page that is not built says what to run', async () => {
  await expect(
    serve({ home: path.join(root, 'other'), page: path.join(root, 'none') }),
  ).rejects.toMatchObject({
    code: 'serve/no-page',
    hint: 'Run: npm run build',
  });
});

test('a port that is taken is named', async () => {
  await expect(
    serve({ home: path.join(root, 'other'), page: path.join(root, 'page'), port: served.port }),
  ).rejects.toMatchObject({
    code: 'serve/port',
    message: expect.stringContaining(String(served.port)) as string,
  });
});
