import type { FastifyReply } from 'fastify';

/** Fires when the connection is closed before the answer was sent whole: nobody waits for the work any more. */
export function clientGone(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  const onClose = () => {
    if (!reply.raw.writableFinished) controller.abort(new Error('the client closed the connection'));
  };
  // Whoever asks late, after a question to the database, would hear nothing.
  if (reply.raw.destroyed) onClose();
  else reply.raw.once('close', onClose);
  return controller.signal;
}
