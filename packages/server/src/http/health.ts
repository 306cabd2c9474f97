import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { messageOf } from '../platform/errors.ts';

/** One thing that must work for the server to be of use. Raises when it does not; bounded by `signal`. */
export interface ReadinessCheck {
  name: string;
  check(signal: AbortSignal): Promise<void>;
}

const CHECK_TIMEOUT_MS = 3_000;

const checkResultSchema = z.object({ status: z.enum(['ok', 'error']), message: z.string().optional() });
const readySchema = z
  .object({ status: z.enum(['ok', 'error']), checks: z.record(z.string(), checkResultSchema) })
  .meta({ id: 'Readiness' });

/** `/health` says that the process answers, `/health/ready` that what it stands on works. */
export function healthRoutes(checks: readonly ReadinessCheck[]): FastifyPluginAsyncZod {
  return async (app) => {
    const config = { public: true };
    app.get(
      '/health',
      {
        config,
        schema: {
          tags: ['health'],
          summary: 'Whether the server answers',
          security: [],
          response: { 200: z.object({ status: z.literal('ok') }) },
        },
      },
      async () => ({ status: 'ok' as const }),
    );
    app.get(
      '/health/ready',
      {
        config,
        schema: {
          tags: ['health'],
          summary: 'Whether what the server stands on works',
          security: [],
          response: { 200: readySchema, 503: readySchema },
        },
      },
      async (_request, reply) => {
        const results = await Promise.all(
          checks.map(async ({ name, check }) => [name, await resultOf(check)] as const),
        );
        const status = results.every(([, result]) => result.status === 'ok') ? 'ok' : 'error';
        return reply.code(status === 'ok' ? 200 : 503).send({ status, checks: Object.fromEntries(results) });
      },
    );
  };
}

async function resultOf(check: ReadinessCheck['check']): Promise<z.infer<typeof checkResultSchema>> {
  const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS);
  const tooLate = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error(`no answer within ${CHECK_TIMEOUT_MS} ms`)), {
      once: true,
    });
  });
  try {
    await Promise.race([check(signal), tooLate]);
    return { status: 'ok' };
  } catch (error) {
    return { status: 'error', message: messageOf(error) };
  }
}
