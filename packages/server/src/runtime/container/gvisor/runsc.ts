import { closeSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { ExitWatcher } from '../../../platform/exit-watcher.ts';
import { findProgram, SEARCH_PATH } from '../../../platform/find-program.ts';
import { pipe } from '../../../platform/libc-files.ts';
import { pidfdOpen, pidfdSignal } from '../../../platform/libc-process.ts';
import { openProcessPipes } from '../../../platform/process-pipes.ts';
import { type SpawnedProcess, spawnProcess } from '../../../platform/spawned-process.ts';
import type { Stdio } from '../crun.ts';
import { runscFailure, wordsOf } from './runsc-failure.ts';
import { RUNSC_FLAGS } from './runsc-flags.ts';

const SIGKILL = 9;
/** Its orders reach a sandbox over a socket; one that does not answer is stuck. */
const CALL_TIMEOUT_MS = 30_000;

let lastLog = 0;

export interface RunscOptions {
  /** Absolute path of the program. */
  program: string;
  root: string;
  watcher: ExitWatcher;
}

export interface Runsc {
  /** Its words go to `log`; the caller waits for it. `before` are a program and its arguments that lead to it. */
  spawn(log: string, args: readonly string[], stdio: Stdio, before?: readonly string[]): SpawnedProcess;
  /** Raises with its own words when it fails, or does not end in time. Standard streams are nobody's. */
  call(args: readonly string[], before?: readonly string[]): Promise<void>;
  /** As `call`, with what it printed. */
  output(args: readonly string[]): Promise<string>;
}

export function createRunsc({ program, root, watcher }: RunscOptions): Runsc {
  function spawn(log: string, args: readonly string[], stdio: Stdio, before: readonly string[] = []): SpawnedProcess {
    const argv = [...before, program, '--root', root, '--log', log, ...RUNSC_FLAGS, ...args];
    const path = before[0] === undefined ? program : findProgram(before[0]);
    return spawnProcess(watcher, { path, argv, env: { PATH: SEARCH_PATH }, stdio });
  }

  async function finish(start: (log: string) => SpawnedProcess, command: string): Promise<void> {
    lastLog += 1;
    const log = join(root, `.log-${process.pid}-${lastLog}`);
    try {
      const child = start(log);
      const timer = setTimeout(() => kill(child), CALL_TIMEOUT_MS);
      const { exitCode, signal } = await child.exited.finally(() => clearTimeout(timer));
      if (exitCode === 0) return;
      const words = wordsOf(await readFile(log, 'utf8').catch(() => ''));
      const ending = `ended by signal ${signal} (limit ${CALL_TIMEOUT_MS} ms)`;
      throw runscFailure(command, signal === undefined ? words : `${words}\n${ending}`);
    } finally {
      await rm(log, { force: true });
    }
  }

  return {
    spawn,
    async call(args, before) {
      await finish((log) => withNothing((stdio) => spawn(log, args, stdio, before)), args[0] ?? '');
    },
    async output(args) {
      const pipes = openProcessPipes();
      try {
        pipes.stdin.end();
        pipes.stderr.resume();
        const text = buffer(pipes.stdout);
        text.catch(() => {});
        await finish((log) => {
          try {
            return spawn(log, args, pipes.theirs);
          } finally {
            pipes.closeTheirs();
          }
        }, args[0] ?? '');
        return (await text).toString('utf8');
      } finally {
        pipes.destroy();
      }
    },
  };
}

/** Streams that read nothing and break for no writer; never the host's /dev/null, which a sandbox's root could be given. */
export function withNothing<T>(use: (stdio: Stdio) => T): T {
  const nothing = pipe();
  try {
    return use([nothing.read, nothing.write, nothing.write]);
  } finally {
    closeSync(nothing.read);
    closeSync(nothing.write);
  }
}

export function kill(child: SpawnedProcess): void {
  if (child.hasEnded()) return;
  // Not reaped yet, so the pid is still this child's.
  const pidfd = pidfdOpen(child.pid);
  try {
    pidfdSignal(pidfd, SIGKILL);
  } finally {
    closeSync(pidfd);
  }
}
