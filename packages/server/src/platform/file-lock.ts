import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLockFile } from './libc.ts';

/** An exclusive lock between processes. The kernel gives it back when the process ends, however it ends. */
export interface FileLock {
  release(): void;
}

/** Takes the lock, or answers undefined when another process (or another lock of this one) has it. The file stays. */
export function tryFileLock(path: string): FileLock | undefined {
  // Node opens with O_CLOEXEC, so no child inherits the lock and keeps it after our end.
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  let locked = false;
  try {
    if (!tryLockFile(fd)) return undefined;
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`, 0);
    locked = true;
    return { release: () => closeSync(fd) };
  } finally {
    if (!locked) closeSync(fd);
  }
}

/** The pid that the holder of a lock wrote into it; undefined in the instant before it did. */
export function lockHolder(path: string): number | undefined {
  try {
    const pid = Number(readFileSync(path, 'utf8').trim());
    return Number.isInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Waits for the lock, for at most `timeoutMs`; undefined when it was never free. */
export async function waitForFileLock(path: string, timeoutMs: number): Promise<FileLock | undefined> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const lock = tryFileLock(path);
    if (lock !== undefined || performance.now() >= deadline) return lock;
    // flock has no time-out of its own, and a blocking call would stop the event loop.
    await sleep(25);
  }
}
