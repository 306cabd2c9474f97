import { fsckLineSchema, fsckRequestSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Fsck, FsckReport } from '../../fsck/index.ts';
import { forbidden, messageOf } from '../../platform/errors.ts';
import { clientGone } from '../client-gone.ts';
import { streamAnswer } from '../stream-answer.ts';

/** For keys of the machine's operator alone. A client that goes away ends it. */
export function fsckRoutes(fsck: Fsck): FastifyPluginAsyncZod {
  return async (app) => {
    app.addHook('onRequest', async ({ auth }) => {
      if (!auth.isAdmin) throw forbidden('Access denied');
    });
    app.post(
      '/admin/fsck',
      {
        schema: {
          summary:
            'Compare the database with the disk, and repair what differs; answers a line of JSON for each finding',
          tags: ['admin'],
          body: fsckRequestSchema,
          response: {
            200: {
              description: 'Lines of JSON, each of them this',
              content: { 'application/x-ndjson': { schema: fsckLineSchema } },
            },
          },
        },
      },
      async ({ body }, reply) => {
        const reports = fsck.run({ ...body, signal: clientGone(reply) });
        await streamAnswer(reply, { 'content-type': 'application/x-ndjson; charset=utf-8' }, lines(reports));
        return reply;
      },
    );
  };
}

async function* lines(reports: AsyncIterable<FsckReport>): AsyncGenerator<string> {
  try {
    for await (const report of reports) yield `${JSON.stringify(report)}\n`;
  } catch (error) {
    // The head is out: a client must not take a broken stream for the end.
    yield `${JSON.stringify({ type: 'failed', message: messageOf(error) })}\n`;
    throw error;
  }
}
