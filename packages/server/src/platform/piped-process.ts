import { finished } from 'node:stream/promises';
import type { ExitWatcher } from './exit-watcher.ts';
import { findProgram, SEARCH_PATH } from './find-program.ts';
import type { ExitStatus } from './libc-process.ts';
import { openProcessPipes, type ProcessPipes } from './process-pipes.ts';
import { type SpawnedProcess, spawnProcess } from './spawned-process.ts';

export interface PipedProcess
  extends Pick<SpawnedProcess, 'pid' | 'hasEnded'>,
    Pick<ProcessPipes, 'stdin' | 'stdout' | 'stderr'> {
  /** When it has ended and everything that it wrote has been read: both outputs must be read by somebody. */
  readonly closed: Promise<ExitStatus>;
}

/**
 * Starts a tool of the host in a session of its own, without the pause that Node's own spawn costs the server
 * (`libc-process.ts`). For what runs while sandboxes start; elsewhere `run` does.
 */
export function spawnPiped(watcher: ExitWatcher, command: string, args: readonly string[]): PipedProcess {
  const path = findProgram(command);
  const pipes = openProcessPipes();
  let child: SpawnedProcess;
  try {
    child = spawnProcess(watcher, { path, argv: [command, ...args], env: { PATH: SEARCH_PATH }, stdio: pipes.theirs });
  } catch (error) {
    pipes.destroy();
    throw error;
  } finally {
    pipes.closeTheirs();
  }
  const { stdin, stdout, stderr } = pipes;
  const closed = Promise.all([child.exited, finished(stdout), finished(stderr)]).then(([status]) => {
    stdin.destroy();
    return status;
  });
  closed.catch(() => {});
  return { pid: child.pid, hasEnded: child.hasEnded, stdin, stdout, stderr, closed };
}
