import { closeSync, mkdirSync, readFileSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { undefinedIfMissing } from '../../platform/errors.ts';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import { findProgram, SEARCH_PATH } from '../../platform/find-program.ts';
import { pipe } from '../../platform/libc-files.ts';
import { pidfdOpen, pidfdSignal } from '../../platform/libc-process.ts';
import { run } from '../../platform/process.ts';
import { type SpawnedProcess, spawnProcess } from '../../platform/spawned-process.ts';
import { OOM_SCORE_ADJ } from './container-config.ts';
import { protectCrun } from './crun-binary.ts';
import { crunFailure } from './crun-failure.ts';
import { isContainerId } from './layout.ts';
import { withOomScore } from './oom-score.ts';
import { unmountQuietly } from './overlay.ts';

/** A start is milliseconds; on a machine that swaps it may be seconds, and then nothing more comes. */
const RUN_TIMEOUT_MS = 30_000;
const DELETE_TIMEOUT_MS = 30_000;
const VERSION_TIMEOUT_MS = 10_000;
const SIGKILL = 9;

/** Standard streams, and what else a process gets from 3 on. */
export type Stdio = readonly [number, number, number, ...number[]];

/** What crun notes about a container; the start time tells a process from a later one with its pid. */
const statusSchema = z.object({ pid: z.int().positive(), 'process-start-time': z.int() });

export interface CrunStatus {
  pid: number;
  startTime: number;
}

export interface Crun {
  readonly version: string;
  /** Resolves when pid 1 runs. `log` gets what crun has to say; a failure is told from it. */
  run(id: string, bundle: string, log: string): Promise<void>;
  /** Starts `crun run` with the standard streams of pid 1; ends with pid 1, and as it did. The caller waits for it. */
  runAttached(id: string, bundle: string, log: string, stdio: Stdio): SpawnedProcess;
  /** Starts `crun exec` with its standard streams and what comes behind them; the caller waits for it. */
  exec(
    id: string,
    processFile: string,
    log: string,
    stdio: Stdio,
    /** Where the master of the process's terminal is sent to. */
    options?: { consoleSocket: string },
  ): SpawnedProcess;
  /** Kills whatever is left of it and forgets it. Idempotent. */
  delete(id: string): Promise<void>;
  status(id: string): CrunStatus | undefined;
  /** A file that crun keeps about a container; undefined when there is none. */
  stateFile(id: string, name: string): Buffer | undefined;
  list(): Promise<string[]>;
  close(): void;
}

export interface CrunOptions {
  /** Name or path of the program. */
  command: string;
  root: string;
  /** Where the program is mounted read-only. */
  mountPoint: string;
  watcher: ExitWatcher;
}

/** Not the name of a container. */
const DELETE_LOG = /^\.delete-.*\.log$/;

export async function createCrun({ command, root, mountPoint, watcher }: CrunOptions): Promise<Crun> {
  const binary = findProgram(command);
  const { stdout } = await run(binary, ['--version'], { timeoutMs: VERSION_TIMEOUT_MS });
  mkdirSync(root, { recursive: true, mode: 0o700 });
  // What a delete that was killed with its server wrote.
  for (const name of await readdir(root)) if (DELETE_LOG.test(name)) await rm(join(root, name), { force: true });
  const { path, env } = protectCrun(binary, mountPoint);

  function start(log: string, args: readonly string[], stdio: Stdio): SpawnedProcess {
    const argv = ['crun', '--root', root, '--cgroup-manager', 'cgroupfs', '--log', log, ...args];
    return spawnProcess(watcher, { path, argv, env: { PATH: SEARCH_PATH, ...env }, stdio });
  }

  /**
   * pid 1 inherits the streams of `run`, and crun gives them to the sandbox's root: never a file that is anybody else's, such as
   * the host's /dev/null. A pipe of its own, with both ends, reads nothing and breaks for no writer. crun's words go to a file.
   */
  async function call(log: string, args: readonly string[], timeoutMs: number): Promise<void> {
    const nothing = pipe();
    let child: SpawnedProcess;
    try {
      child = start(log, args, [nothing.read, nothing.write, nothing.write]);
    } finally {
      closeSync(nothing.read);
      closeSync(nothing.write);
    }
    const timer = setTimeout(() => kill(child), timeoutMs);
    const { exitCode, signal } = await child.exited.finally(() => clearTimeout(timer));
    if (exitCode === 0) return;
    const words = await readFile(log, 'utf8').catch(() => '');
    const ending = signal === undefined ? words : `${words}\nended by signal ${signal} (limit ${timeoutMs} ms)`;
    throw crunFailure(args[0] ?? '', ending);
  }

  function stateFile(id: string, name: string): Buffer | undefined {
    try {
      return readFileSync(join(root, id, name));
    } catch (error) {
      return undefinedIfMissing(error);
    }
  }

  return {
    version: stdout.trim(),
    run: (id, bundle, log) => call(log, ['run', '--detach', '--bundle', bundle, id], RUN_TIMEOUT_MS),
    runAttached: (id, bundle, log, stdio) => start(log, ['run', '--bundle', bundle, id], stdio),
    exec(id, processFile, log, stdio, options) {
      const console = options === undefined ? [] : ['--console-socket', options.consoleSocket];
      const more = stdio.length > 3 ? ['--preserve-fds', String(stdio.length - 3)] : [];
      const args = ['exec', '--process', processFile, ...console, ...more, id];
      // `crun exec` passes over the score of its description; its child inherits this one.
      return withOomScore(OOM_SCORE_ADJ, () => start(log, args, stdio));
    },
    async delete(id) {
      if (stateFile(id, 'status') === undefined) {
        // A run that was killed early leaves a directory that crun itself does not know.
        await rm(join(root, id), { recursive: true, force: true });
        return;
      }
      const log = join(root, `.delete-${id}.log`);
      try {
        await call(log, ['delete', '--force', id], DELETE_TIMEOUT_MS);
      } catch (error) {
        if (stateFile(id, 'status') !== undefined) throw error;
      } finally {
        await rm(log, { force: true });
      }
    },
    status(id) {
      const text = stateFile(id, 'status');
      if (text === undefined) return undefined;
      const status = statusSchema.safeParse(parseJson(text));
      return status.success ? { pid: status.data.pid, startTime: status.data['process-start-time'] } : undefined;
    },
    stateFile,
    list: async () => (await readdir(root)).filter(isContainerId),
    close: () => unmountQuietly(mountPoint),
  };
}

function kill(child: SpawnedProcess): void {
  if (child.hasEnded()) return;
  // Not reaped yet, so the pid is still this child's.
  const pidfd = pidfdOpen(child.pid);
  try {
    pidfdSignal(pidfd, SIGKILL);
  } finally {
    closeSync(pidfd);
  }
}

function parseJson(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString('utf8'));
  } catch {
    return undefined;
  }
}
