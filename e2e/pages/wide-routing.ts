import type { Page } from '@playwright/test';
import { z } from 'zod';
import { packRouting } from '#core/contract/metrics.ts';

const Request = z.object({ id: z.int(), method: z.string() });
const Detail = z.looseObject({ facts: z.looseObject({}).nullish() });
const Routing = z.looseObject({ records: z.array(z.looseObject({ step: z.int() })) });
const Reply = z.looseObject({ id: z.int(), value: z.unknown() });

/**
 * Lets the page see every run with `layers` × `experts` experts, so that a large model's picture can be timed without
 * a large model. Everything else of the host's answers stays. Takes effect with the next load of the page; possible
 * only where the page talks to the host over a socket.
 */
export async function widenRouting(page: Page, layers: number, experts: number): Promise<void> {
  await page.routeWebSocket(/\/ws$/, (socket) => {
    const host = socket.connectToServer();
    const asked = new Map<number, string>();
    socket.onMessage((text) => {
      const request = Request.safeParse(JSON.parse(String(text)));
      if (request.success) asked.set(request.data.id, request.data.method);
      host.send(text);
    });
    host.onMessage((text) => {
      const reply = Reply.safeParse(JSON.parse(String(text)));
      const method = reply.success ? asked.get(reply.data.id) : undefined;
      if (reply.success && method === 'runs.get') {
        const detail = Detail.parse(reply.data.value);
        const moeLayerIndices = Array.from({ length: layers }, (_, layer) => layer);
        const facts = { ...detail.facts, experts, moeLayers: layers, moeLayerIndices };
        socket.send(JSON.stringify({ ...reply.data, value: { ...detail, facts } }));
      } else if (reply.success && method === 'runs.routing') {
        const routing = Routing.parse(reply.data.value);
        const records = routing.records.map(({ step }) => packRouting(wideRecord(step, layers, experts)));
        socket.send(JSON.stringify({ ...reply.data, value: { ...routing, records } }));
      } else socket.send(text);
    });
  });
}

/** Uneven use that differs from step to step. */
function wideRecord(step: number, layers: number, experts: number) {
  const size = layers * experts;
  return {
    step,
    counts_LE: Uint32Array.from({ length: size }, (_, i) => (i * 7919 + step * 104729) % 97),
    mass_LE: Float32Array.from({ length: size }, (_, i) => ((i * 31 + step * 17) % 89) / 89),
  };
}
