import { once } from 'node:events';
import type { FastifyReply } from 'fastify';

/** A client that takes nothing for so long is let go. */
const MAX_STALL_MS = 5 * 60_000;

/**
 * Sends pieces as they come, each as one write, because clients read what comes together as one. The head goes at once, so that nobody
 * waits for the first piece to know that there will be some. Takes no more than the client does.
 */
export async function streamAnswer(
  reply: FastifyReply,
  headers: Record<string, string>,
  pieces: AsyncIterable<string>,
): Promise<void> {
  const leave = reply.server.takeStreamPlace?.(reply.request);
  reply.hijack();
  const { raw } = reply;
  const given = reply.getHeaders();
  for (const [name, value] of Object.entries(given)) if (value !== undefined) raw.setHeader(name, value);
  // A connection that was busy when the server began to stop would be waited for when it is idle again.
  raw.writeHead(200, { ...headers, 'cache-control': 'no-store', 'x-accel-buffering': 'no', connection: 'close' });
  raw.flushHeaders();
  const gone = new AbortController();
  if (raw.destroyed) gone.abort();
  raw.once('close', () => gone.abort());
  raw.on('error', () => gone.abort());
  try {
    for await (const piece of pieces) {
      if (gone.signal.aborted) return;
      if (raw.write(piece)) continue;
      await once(raw, 'drain', { signal: AbortSignal.any([gone.signal, AbortSignal.timeout(MAX_STALL_MS)]) });
    }
    raw.end();
  } catch (error) {
    if (!gone.signal.aborted) reply.log.warn({ err: error }, 'a stream was broken off');
    raw.destroy();
  } finally {
    leave?.();
  }
}
