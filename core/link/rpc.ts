/**
 * Request, reply, cancel and notice over a link. The messages are plain JSON:
 *
 *     → { id, method, input }                             a request; the caller chooses `id` and does not reuse it
 *     ← { id, ok: true, value }                           its reply
 *     ← { id, ok: false, error: { code, message, hint? } }
 *     → { cancel: id }                                    the caller no longer wants the reply
 *     ← { push, payload }                                 a notice from the serving side
 */
import { z } from 'zod';
import type { Result } from '#core/contract/result.ts';
import { coalesce, type Coalescer } from './coalesce.ts';
import type { Link, Unsubscribe } from './link.ts';

const Request = z.object({ id: z.int(), method: z.string(), input: z.unknown() });
const Cancel = z.object({ cancel: z.int() });
/** Notices of one channel and subject are merged over this many milliseconds (at most 10 a second). */
export const NOTICE_INTERVAL_MS = 100;
/** Requests that one link may have in work at a time. */
const MAX_IN_WORK = 64;

/** What `serveLink` answers with. */
export interface Service {
  call(name: string, input: unknown, signal: AbortSignal): Promise<Result<unknown>>;
  onPush(listener: (channel: string, payload: unknown) => void): Unsubscribe;
}

/**
 * Answers requests on `link` until it closes. Notices are merged per channel and `payload.id`, and held back while
 * the link is congested: a notice carries high-water marks only, so the newest one says everything.
 */
export function serveLink(link: Link, service: Service): void {
  const inWork = new Map<number, AbortController>();
  const notices = new Map<string, Coalescer<unknown>>();

  const answer = async (request: z.infer<typeof Request>): Promise<void> => {
    const { id, method, input } = request;
    if (inWork.has(id) || inWork.size >= MAX_IN_WORK) {
      const why = inWork.has(id)
        ? `request id ${id} is in use`
        : `more than ${MAX_IN_WORK} requests at a time`;
      link.send({ id, ...refusal('link/refused', why) });
      return;
    }
    const controller = new AbortController();
    inWork.set(id, controller);
    const result = await service.call(method, input, controller.signal);
    inWork.delete(id);
    if (!controller.signal.aborted) link.send({ id, ...result });
  };

  link.onMessage((message) => {
    const request = Request.safeParse(message);
    if (request.success) {
      void answer(request.data);
      return;
    }
    const cancel = Cancel.safeParse(message);
    if (cancel.success) {
      inWork.get(cancel.data.cancel)?.abort();
      return;
    }
    // Nothing that speaks this protocol sends anything else.
    link.close();
  });

  const stopPushes = service.onPush((channel, payload) => {
    const key = `${channel} ${subjectOf(payload)}`;
    let notice = notices.get(key);
    if (notice === undefined) {
      notice = coalesce(NOTICE_INTERVAL_MS, (value) => {
        if (link.congested) return false;
        link.send({ push: channel, payload: value });
        return true;
      });
      notices.set(key, notice);
    }
    notice.push(payload);
  });

  link.onClose(() => {
    stopPushes();
    for (const notice of notices.values()) notice.cancel();
    for (const controller of inWork.values()) controller.abort();
  });
}

function subjectOf(payload: unknown): string {
  return typeof payload === 'object' && payload !== null && 'id' in payload ? String(payload.id) : '';
}

function refusal(code: string, message: string): Result<never> {
  return { ok: false, error: { code, message } };
}
