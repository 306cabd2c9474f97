import { closeSync, writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { epollAddOnce, epollCreate, epollRemove, eventFd } from './libc-epoll.ts';

export interface WatchOptions {
  awaited?: boolean;
  until?: 'readable' | 'writable';
}

export interface ExitWatcher {
  /**
   * Calls back once when the process behind the pidfd has ended, also at once when it had before. The watcher owns the
   * descriptor from here on. Returns the way to stop watching. With `awaited`, this process does not end for want of other
   * work before it has been told. Any other descriptor that epoll takes can be watched too: until it can be read, or `writable`.
   */
  watch(pidfd: number, listener: () => void, options?: WatchOptions): () => void;
  close(): Promise<void>;
}

/** Learns of the end of any number of processes, children or not, from one sleeping thread. Nothing polls. */
export function createExitWatcher(): ExitWatcher {
  const epoll = epollCreate();
  const wakeUp = eventFd();
  epollAddOnce(epoll, wakeUp, 0);
  const watched = new Map<number, { pidfd: number; listener: () => void; awaited: boolean }>();
  let awaited = 0;
  let nextToken = 1;
  let closed = false;

  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const thread = new Worker(new URL(`./exit-watcher-thread.${extension}`, import.meta.url), { workerData: { epoll } });
  thread.unref();
  const ended = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
  thread.on('message', (tokens: number[]) => {
    for (const token of tokens) finish(token)?.listener();
  });

  // Node joins its threads when it exits, and this one sleeps in the kernel.
  const wake = () => {
    writeSync(wakeUp, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));
  };
  process.once('exit', wake);

  function finish(token: number) {
    const entry = watched.get(token);
    if (!watched.delete(token) || !entry) return undefined;
    if (entry.awaited) {
      awaited -= 1;
      if (awaited === 0) thread.unref();
    }
    if (!closed) epollRemove(epoll, entry.pidfd);
    closeSync(entry.pidfd);
    return entry;
  }

  return {
    watch(pidfd, listener, options = {}) {
      if (closed) {
        closeSync(pidfd);
        throw new Error('the exit watcher is closed');
      }
      const token = nextToken;
      nextToken = (nextToken % 0xffff_fff0) + 1;
      try {
        epollAddOnce(epoll, pidfd, token, options.until);
      } catch (error) {
        closeSync(pidfd);
        throw error;
      }
      const entry = { pidfd, listener, awaited: options.awaited ?? false };
      watched.set(token, entry);
      if (entry.awaited) {
        awaited += 1;
        thread.ref();
      }
      return () => void finish(token);
    },
    async close() {
      if (closed) return;
      closed = true;
      thread.ref();
      process.removeListener('exit', wake);
      wake();
      await ended;
      for (const token of [...watched.keys()]) finish(token);
      closeSync(wakeUp);
      closeSync(epoll);
    },
  };
}
