import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Protocol } from 'electron';
import { afterAll, expect, test } from 'vitest';
import { registerPageScheme, servePage } from './app-protocol.ts';
import { CONTENT_SECURITY_POLICY } from './security.ts';
import { beforeReady, protocol, schemes } from './testing/electron-stub.ts';

const root = mkdtempSync(path.join(os.tmpdir(), 'app-protocol-'));
const folder = path.join(root, 'renderer');
mkdirSync(path.join(folder, 'assets'), { recursive: true });
mkdirSync(path.join(root, 'renderer-secret'));
writeFileSync(path.join(folder, 'index.html'), '<p>page</p>');
writeFileSync(path.join(folder, 'assets/a b.js'), 'export {}');
writeFileSync(path.join(root, 'secret.txt'), 'secret');
writeFileSync(path.join(root, 'renderer-secret/x.js'), 'secret');
afterAll(() => rmSync(root, { recursive: true }));

servePage(protocol as unknown as Protocol, folder);
const get = async (url: string, method = 'GET') => {
  const handler = schemes.get('app');
  expect(handler).toBeDefined();
  return handler?.(new Request(url, { method })) as Promise<Response>;
};

test('the scheme is registered as a standard, secure one', () => {
  registerPageScheme(protocol as unknown as Protocol);
  expect(beforeReady).toContain('scheme app');
});

test('serves the page and its assets with policy and type', async () => {
  const page = await get('app://ui/');
  expect(page.status).toBe(200);
  expect(await page.text()).toBe('<p>page</p>');
  expect(page.headers.get('content-security-policy')).toBe(CONTENT_SECURITY_POLICY);
  expect(page.headers.get('x-content-type-options')).toBe('nosniff');
  expect(page.headers.get('content-type')).toMatch(/^text\/html/);
  const script = await get('app://ui/assets/a%20b.js');
  expect(script.headers.get('content-type')).toMatch(/^text\/javascript/);
});

test('HEAD has no body, other methods are refused', async () => {
  expect(await (await get('app://ui/', 'HEAD')).text()).toBe('');
  expect((await get('app://ui/', 'POST')).status).toBe(405);
});

test.each([
  ['app://ui/../secret.txt', 404],
  ['app://ui/%2e%2e/secret.txt', 404],
  ['app://ui/..%2fsecret.txt', 400],
  ['app://ui/%2e%2e%2fsecret.txt', 400],
  ['app://ui/assets/..%2f..%2fsecret.txt', 400],
  ['app://ui/..%5csecret.txt', 400],
  ['app://ui/..%2frenderer-secret/x.js', 400],
  ['app://ui/%00', 400],
  ['app://ui/%', 400],
  ['app://ui/missing.js', 404],
  ['app://ui/assets', 404],
  ['app://other/index.html', 404],
])('%s is refused with %i and never leaks', async (url, status) => {
  const response = await get(url);
  expect(response.status).toBe(status);
  expect(await response.text()).toBe('');
  expect(response.headers.get('content-security-policy')).toBe(CONTENT_SECURITY_POLICY);
});
