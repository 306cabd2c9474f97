import type { FastifyReply } from 'fastify';

/** Fires when the connection is closed before the answer was sent whole: nobody waits for the work any more. */
export function clientGone(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort(new Error('the client closed the connection'));
  });
  return controller.signal;
}
