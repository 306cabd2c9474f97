import { DarkroomError, errnoOf } from './errors.ts';
import type { ExitWatcher } from './exit-watcher.ts';
import { type ExitStatus, pidfdOpen, posixSpawn, reap, type SpawnSpec } from './libc-process.ts';

export interface SpawnedProcess {
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
  /** Has been reaped: its pid means nothing any more. */
  readonly hasEnded: () => boolean;
}

/** Starts a child by posix_spawn and reaps it when the exit watcher hears of its end. */
export function spawnProcess(watcher: ExitWatcher, spec: SpawnSpec): SpawnedProcess {
  let pid: number;
  try {
    pid = posixSpawn(spec);
  } catch (cause) {
    const missing = errnoOf(cause) === 'ENOENT';
    throw new DarkroomError('internal', `${spec.path} cannot be started`, {
      cause,
      ...(missing ? { hint: 'It is not installed; run `darkroom doctor`.' } : { retryable: true }),
    });
  }
  let ended = false;
  const exited = new Promise<ExitStatus>((resolve, reject) => {
    const onEnd = () => {
      try {
        const status = reap(pid);
        ended = true;
        if (status === undefined) reject(new Error(`${spec.path}: ended without a status`));
        else resolve(status);
      } catch (error) {
        reject(error);
      }
    };
    watcher.watch(pidfdOpen(pid), onEnd, { awaited: true });
  });
  return { pid, exited, hasEnded: () => ended };
}
