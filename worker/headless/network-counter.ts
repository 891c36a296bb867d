/** Counts requests that leave the machine: there should be none. */
import { subscribe } from 'node:diagnostics_channel';
import type { ClientRequest } from 'node:http';

const LOCAL = new Set(['127.0.0.1', '[::1]', '::1', 'localhost']);
let requests = 0;
let counting = false;

/** Starts counting the HTTP requests and fetches this process sends to other machines; returns how many there were. */
export function countNetworkRequests(): () => number {
  if (!counting) {
    counting = true;
    subscribe('http.client.request.start', (message) => {
      const { request } = message as { readonly request: ClientRequest };
      count(request.host);
    });
    subscribe('undici:request:create', (message) => {
      const { request } = message as { readonly request: { readonly origin: string | URL } };
      count(new URL(request.origin).hostname);
    });
  }
  return () => requests;
}

function count(hostname: string): void {
  if (!LOCAL.has(hostname)) requests++;
}
