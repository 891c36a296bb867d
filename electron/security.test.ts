import { EventEmitter } from 'node:events';
import type { App, Session } from 'electron';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { CONTENT_SECURITY_POLICY, hardenPages, hardenSession, isOwnPage } from './security.ts';
import { session, sessionState, WebContentsStub } from './testing/electron-stub.ts';

test.each([
  ['app://ui/', true],
  ['app://ui/index.html#/runs/1', true],
  ['app://other/', false],
  ['app://ui.evil/', false],
  ['app://ui:8080/', false],
  ['https://ui/', false],
  ['file:///etc/passwd', false],
  ['javascript:alert(1)', false],
  ['', false],
])('%j is our page: %s', (url, own) => {
  expect(isOwnPage(url)).toBe(own);
});

test('the policy allows no script but our own and no foreign connection', () => {
  const directives = new Map(CONTENT_SECURITY_POLICY.split('; ').map((text) => [text.split(' ')[0], text]));
  expect(directives.get('default-src')).toBe("default-src 'none'");
  expect(directives.get('script-src')).toBe("script-src 'self'");
  expect(directives.get('connect-src')).toBe("connect-src 'self'");
  expect(CONTENT_SECURITY_POLICY).not.toMatch(/unsafe-eval|\*|https?:/);
});

describe('pages', () => {
  const app = new EventEmitter();
  hardenPages(app as App);
  let contents: WebContentsStub;
  beforeEach(() => {
    contents = new WebContentsStub();
    app.emit('web-contents-created', {}, contents);
  });

  test.each(['will-navigate', 'will-frame-navigate', 'will-redirect'])('%s leads nowhere else', (event) => {
    const away = vi.fn<() => void>();
    contents.emit(event, { url: 'https://example.org/', preventDefault: away });
    expect(away).toHaveBeenCalledOnce();
    const home = vi.fn<() => void>();
    contents.emit(event, { url: 'app://ui/', preventDefault: home });
    expect(home).not.toHaveBeenCalled();
  });

  test('no window opens, no web view attaches', () => {
    expect(contents.openHandler?.({ url: 'app://ui/' })).toEqual({ action: 'deny' });
    const prevented = vi.fn<() => void>();
    contents.emit('will-attach-webview', { preventDefault: prevented });
    expect(prevented).toHaveBeenCalledOnce();
  });
});

describe('session', () => {
  const networkRequests = hardenSession(session.defaultSession as unknown as Session);
  const call = (handler: unknown, ...args: unknown[]) => (handler as (...all: unknown[]) => unknown)(...args);

  test('permissions and devices are denied', () => {
    const answer = vi.fn<(granted: boolean) => void>();
    call(sessionState.permissionRequest, {}, 'media', answer);
    expect(answer).toHaveBeenCalledExactlyOnceWith(false);
    expect(call(sessionState.permissionCheck, {}, 'clipboard-read')).toBe(false);
    expect(call(sessionState.devicePermission, { deviceType: 'usb' })).toBe(false);
    expect(sessionState.spellChecker).toBe(false);
  });

  test('only local requests pass; others are cancelled and counted', () => {
    const cancelled = (url: string) => {
      const answer = vi.fn<(reply: { cancel: boolean }) => void>();
      call(sessionState.beforeRequest, { url }, answer);
      return answer.mock.calls[0]?.[0].cancel;
    };
    for (const url of [
      'app://ui/index.html',
      'data:image/png;base64,AA',
      'blob:app://ui/1',
      'devtools://x/',
    ]) {
      expect(cancelled(url), url).toBe(false);
    }
    expect(networkRequests()).toBe(0);
    for (const url of [
      'https://example.org/',
      'http://127.0.0.1/',
      'ws://example.org/',
      'file:///etc/passwd',
    ]) {
      expect(cancelled(url), url).toBe(true);
    }
    expect(networkRequests()).toBe(4);
  });
});
