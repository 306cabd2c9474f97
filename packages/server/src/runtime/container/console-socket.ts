import { closeSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { DarkroomError } from '../../platform/errors.ts';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import { acceptUnix, listenUnix, receiveDescriptor } from '../../platform/libc-sockets.ts';
import { checkTerminalMaster, duplicate } from '../../platform/libc-terminal.ts';

/** crun opens the terminal within milliseconds; on a machine that swaps it may be seconds. */
const TERMINAL_TIMEOUT_MS = 20_000;

/** Where crun sends the master of the terminal that it opened inside the container. */
export interface ConsoleSocket {
  readonly path: string;
  /** The descriptor, which the caller then owns; undefined when `givenUp` settles or the time is over first. */
  receive(givenUp: Promise<unknown>): Promise<number | undefined>;
  close(): void;
}

/** `path` must be short, and in a directory that only root may write: whoever connects first is believed. */
export function openConsoleSocket(watcher: ExitWatcher, path: string): ConsoleSocket {
  // One of a server that was killed.
  rmSync(path, { force: true });
  const listening = listenUnix(path);
  const open = new Set([listening]);
  let closed = false;

  /** Each ask of `take` is behind a readable descriptor; `stop` lets go of the wait. */
  async function once<T>(fd: number, take: () => T | undefined, stop: Promise<'stop'>): Promise<T | undefined> {
    for (;;) {
      const taken = take();
      if (taken !== undefined) return taken;
      const readable = Promise.withResolvers<'readable'>();
      const unwatch = watcher.watch(duplicate(fd), () => readable.resolve('readable'));
      if ((await Promise.race([readable.promise, stop])) === 'stop') {
        unwatch();
        // It may have come with the very news that ended the wait.
        return take();
      }
    }
  }

  function close(): void {
    if (closed) return;
    closed = true;
    for (const fd of open) closeSync(fd);
    rmSync(path, { force: true });
  }

  return {
    path,
    async receive(givenUp) {
      const timer = new AbortController();
      const late = sleep(TERMINAL_TIMEOUT_MS, undefined, { signal: timer.signal });
      const stop = Promise.race([late, givenUp]).then(
        (): 'stop' => 'stop',
        (): 'stop' => 'stop',
      );
      try {
        const connection = await once(listening, () => acceptUnix(listening), stop);
        if (connection === undefined) return undefined;
        open.add(connection);
        const master = await once(connection, () => receiveDescriptor(connection), stop);
        if (master === undefined || master === 'none') return undefined;
        return checkedMaster(master);
      } finally {
        timer.abort();
        close();
      }
    },
    close,
  };
}

function checkedMaster(fd: number): number {
  try {
    checkTerminalMaster(fd);
    return fd;
  } catch (cause) {
    closeSync(fd);
    throw new DarkroomError('internal', 'what the container has at /dev/ptmx opens no terminal', { cause });
  }
}
