import { closeSync, openSync } from 'node:fs';
import { DarkroomError } from '../../platform/errors.ts';
import { pipe } from '../../platform/libc-files.ts';
import { posixSpawn, reap } from '../../platform/libc-process.ts';

/** Undoes a freeze when this process is killed in the middle of it, or takes longer than it may. */
export interface ThawGuard {
  /** It does nothing any more when this returns. */
  end(): void;
  /** Lets it undo the freeze now, and waits for that a while; it goes on by itself, however long it takes. */
  act(): void;
}

export interface ThawGuardOptions {
  withinSeconds: number;
  /** Lines of bash, with these arguments as `$1` and so on. */
  thaw: string;
  args?: readonly string[];
  /** Its descriptor 3. */
  fd?: number;
}

const BASH = '/bin/bash';
const REAP_POLL_MS = 0.2;
const REAP_LIMIT_MS = 5_000;

/**
 * A process of its own, in a session of its own, that sleeps until the other end of its pipe is closed, which the kernel does whatever the
 * server dies of. So what stands still goes on without another server. It needs nothing from a disk that may be frozen.
 */
export function startThawGuard({ withinSeconds, thaw, args = [], fd }: ThawGuardOptions): ThawGuard {
  const nowhere = openSync('/dev/null', 'r+');
  const alive = pipe();
  try {
    const script = `read -r -t ${withinSeconds} -n 1; ${thaw}`;
    const pid = posixSpawn({
      path: BASH,
      argv: ['bash', '--norc', '-c', script, 'darkroom-thaw', ...args],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      stdio: [alive.read, nowhere, nowhere, fd ?? nowhere],
    });
    return {
      end() {
        process.kill(pid, 'SIGKILL');
        closeSync(alive.write);
        if (!hasEnded(pid)) throw new DarkroomError('internal', `the guard of a freeze (${pid}) does not end`);
      },
      act() {
        closeSync(alive.write);
        hasEnded(pid);
      },
    };
  } catch (cause) {
    closeSync(alive.write);
    throw new DarkroomError('unavailable', 'nothing may stand still without a guard, which could not be started', {
      cause,
      hint: `It is a small script of ${BASH}.`,
      retryable: true,
    });
  } finally {
    closeSync(alive.read);
    closeSync(nowhere);
  }
}

/** A thread of a freeze has no event loop to hear of it. What was killed has nothing to wait for, and is gone in a moment. */
function hasEnded(pid: number): boolean {
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  for (const deadline = performance.now() + REAP_LIMIT_MS; reap(pid) === undefined; ) {
    if (performance.now() > deadline) return false;
    Atomics.wait(nothing, 0, 0, REAP_POLL_MS);
  }
  return true;
}
