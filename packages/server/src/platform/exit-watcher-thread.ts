import { parentPort, workerData } from 'node:worker_threads';
import { z } from 'zod';
import { epollWait } from './libc-epoll.ts';

/** The thread of the exit watcher: it sleeps in epoll_wait and passes on what it hears. Token 0 ends it. */
const { epoll } = z.object({ epoll: z.int() }).parse(workerData);
for (let ended = false; !ended; ) {
  const tokens = epollWait(epoll);
  ended = tokens.includes(0);
  if (tokens.length > 0) parentPort?.postMessage(tokens);
}
