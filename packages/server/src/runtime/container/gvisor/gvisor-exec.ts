import { readFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { undefinedIfMissing } from '../../../platform/errors.ts';
import type { SpawnedProcess } from '../../../platform/spawned-process.ts';
import type { ExecProcess } from '../../types.ts';
import { notRunning } from '../container-root.ts';
import type { Stdio } from '../crun.ts';
import type { StartedCommand } from '../engine.ts';
import { type ExecAttempt, signalName } from '../exec-attempt.ts';
import type { LiveContainer } from '../live-container.ts';
import { killGuestTree } from './guest-processes.ts';
import { kill, type Runsc } from './runsc.ts';
import { runscFailure, wordsOf } from './runsc-failure.ts';
import { runscName } from './runsc-name.ts';

/** Between the order and the moment that gVisor has told the pid. */
const APPEAR_TIMEOUT_MS = 10_000;
const LOOK_AGAIN_MS = 5;
const SIGKILL = constants.signals.SIGKILL;

/** `runsc exec` waits for the command, whose streams are the ones that it got itself. */
export function startGvisorExec(
  runsc: Runsc,
  container: LiveContainer,
  attempt: ExecAttempt,
  stdio: Stdio,
  before?: readonly string[],
): StartedCommand {
  const pidFile = pidFileOf(attempt.processFile);
  const [, , , ...more] = stdio;
  const passed = more.flatMap((_, index) => ['--pass-fd', `${index + 3}:${index + 3}`]);
  const args = [
    'exec',
    '--process',
    attempt.processFile,
    '--internal-pid-file',
    pidFile,
    ...passed,
    runscName(container.id),
  ];
  const child = runsc.spawn(attempt.log, args, stdio, before);
  const asked = { kill: false };
  const forget = () => Promise.all([attempt.forget(), rm(pidFile, { force: true })]);
  const exited = exitOf(child, attempt.log, container, asked).finally(forget);
  // Whoever asks sees the failure; who does not must not bring the server down.
  exited.catch(() => {});
  return {
    exited,
    async killTree() {
      asked.kill = true;
      await killCommand(runsc, container.id, child, pidFile);
      await exited.catch(() => {});
    },
  };
}

export function pidFileOf(processFile: string): string {
  return processFile.replace(/\.json$/, '.pid');
}

/** runsc ends as the command did. An error in its log is its own failure, not the command's. */
async function exitOf(
  child: SpawnedProcess,
  log: string,
  container: LiveContainer,
  asked: { kill: boolean },
): ReturnType<typeof readExit> {
  const { exitCode } = await child.exited;
  if (asked.kill && exitCode !== 0) return { exitCode: 128 + SIGKILL, signal: 'SIGKILL' };
  return readExit(exitCode, log, container);
}

async function readExit(
  exitCode: number,
  log: string,
  container: LiveContainer,
): Promise<Awaited<ExecProcess['exited']>> {
  if (exitCode === 0) return { exitCode, signal: undefined };
  const words = wordsOf(await readFile(log, 'utf8').catch(() => ''));
  if (words.trim() !== '') {
    // Ended together with its sandbox is an end like another; never begun is a failure.
    throw container.isAlive() ? runscFailure('exec', words) : notRunning(container.id);
  }
  return { exitCode, signal: signalName(exitCode) };
}

/** A sandbox that ended meanwhile has taken it along. */
async function killCommand(runsc: Runsc, id: string, child: SpawnedProcess, pidFile: string): Promise<void> {
  const pid = await guestPid(pidFile, () => child.hasEnded());
  try {
    if (pid !== undefined && !child.hasEnded()) await killGuestTree(runsc, id, pid);
  } catch (error) {
    if (!child.hasEnded()) throw error;
  } finally {
    kill(child);
  }
}

/** As gVisor counts; undefined when the command ended, or did not begin in time. */
export async function guestPid(pidFile: string, hasEnded: () => boolean): Promise<number | undefined> {
  for (const deadline = performance.now() + APPEAR_TIMEOUT_MS; performance.now() < deadline && !hasEnded(); ) {
    const pid = readPid(pidFile);
    if (pid !== undefined) return pid;
    await sleep(LOOK_AGAIN_MS);
  }
  return undefined;
}

function readPid(file: string): number | undefined {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    return Number.isInteger(pid) && pid > 1 ? pid : undefined;
  } catch (error) {
    return undefinedIfMissing(error);
  }
}
