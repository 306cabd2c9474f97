import type { FastifyInstance } from 'fastify';
import type { Builds } from '../../builds/index.ts';

type Reads = Pick<Builds, 'readLog' | 'watch'>;

/** Followers would keep a server that stops waiting: their streams end then, and they come back, or ask for the state. */
export function readUntilClose(app: Pick<FastifyInstance, 'addHook'>, builds: Reads): Reads {
  const closing = new AbortController();
  app.addHook('preClose', async () => closing.abort(new Error('the server is stopping')));
  const until = <T extends { signal: AbortSignal }>(options: T) => ({
    ...options,
    signal: AbortSignal.any([options.signal, closing.signal]),
  });
  return {
    readLog: (row, options) => builds.readLog(row, until(options)),
    watch: (row, options) => builds.watch(row, until(options)),
  };
}
