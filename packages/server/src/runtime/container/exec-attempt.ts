import { writeFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DarkroomError, invalidRequest } from '../../platform/errors.ts';
import type { SpawnedProcess } from '../../platform/spawned-process.ts';
import type { ExecProcess, ExecSpec } from '../types.ts';
import { DEFAULT_PATH, processConfig, TINI } from './container-config.ts';
import type { ContainerHost } from './container-host.ts';
import { notRunning, withRoot } from './container-root.ts';
import { crunFailure } from './crun-failure.ts';
import { checkExec, checkWorkingDirectory, commandFault } from './exec-check.ts';
import { runPaths } from './layout.ts';
import { type LiveContainer, processStat } from './live-container.ts';
import { childrenOf, killTree } from './process-tree.ts';

/** Between the fork of crun and the moment that its child can be seen below it. */
const APPEAR_MS = 1;
const LOOK_AGAIN_MS = 50;
/** On the busiest machine a child has come by then; one that was killed in the wrong moment never does. */
const ALONE_MS = 2_000;
const STOP_TRIES = 100;
const KILLED_TIMEOUT_MS = 20_000;

let lastExec = 0;

/** A command that crun can be told to start. */
export interface ExecAttempt {
  processFile: string;
  log: string;
  /** Takes away what was written for crun. */
  forget(): Promise<unknown>;
}

/** A command that could not even begin, as a shell would end it. */
export interface ExecFault {
  exitCode: number;
  words: string;
}

/** Raises for what could not be meant. `more` are members of the process's description beside the usual. */
export async function prepareExec(
  host: ContainerHost,
  container: LiveContainer,
  spec: ExecSpec,
  more: object = {},
): Promise<ExecAttempt | ExecFault> {
  checkExec(spec);
  if (spec.user.uid >= host.idCount || spec.user.gid >= host.idCount) {
    throw invalidRequest(`ids in a sandbox are below ${host.idCount}`);
  }
  const env = { ...container.env, ...spec.env };
  const fault = await withRoot(container, (root) => {
    checkWorkingDirectory(root, spec.cwd);
    return commandFault(root, spec.argv[0] ?? '', spec.cwd, env.PATH ?? DEFAULT_PATH);
  });
  if (fault) return fault;

  // `-s`: orphans of the command stay below this tini, where killTree finds them.
  const input = { argv: [TINI, '-s', '--', ...spec.argv], env, cwd: spec.cwd, user: spec.user };
  lastExec += 1;
  const base = join(runPaths(host.layout, container.id).dir, `exec-${process.pid}-${lastExec}`);
  const files = { process: `${base}.json`, log: `${base}.log` };
  try {
    const description = { ...processConfig(input, host.openFiles, host.appArmorProfile), ...more };
    // Not on crun's command line: everybody on the host can read that, and an environment holds secrets.
    writeFileSync(files.process, JSON.stringify(description), { mode: 0o600 });
  } catch (cause) {
    if (!container.isAlive()) throw notRunning(container.id);
    throw new DarkroomError('internal', `prepare a command in sandbox ${container.id}`, { cause });
  }
  return {
    processFile: files.process,
    log: files.log,
    forget: () => Promise.all(Object.values(files).map((file) => rm(file, { force: true }))),
  };
}

/** The end of a command that `crun exec` runs as `child`, and the way to bring it about. */
export function followExec(
  host: ContainerHost,
  container: LiveContainer,
  attempt: ExecAttempt,
  child: SpawnedProcess,
): Pick<ExecProcess, 'exited' | 'killTree'> {
  const asked = { kill: false };
  const exited = exitOf(child, attempt.log, container, asked).finally(attempt.forget);
  // Whoever asks sees the failure; who does not must not bring the server down.
  exited.catch(() => {});
  return {
    exited,
    killTree: () => {
      asked.kill = true;
      return killExec(host, child, exited);
    },
  };
}

/** crun ends as the command did. What it writes to its log is its own failure, not the command's. */
async function exitOf(
  child: SpawnedProcess,
  log: string,
  container: LiveContainer,
  asked: { kill: boolean },
): Promise<Awaited<ExecProcess['exited']>> {
  const { exitCode } = await child.exited;
  if (exitCode === 0) return { exitCode, signal: undefined };
  // crun has its own words for a kill in the middle of its work.
  if (asked.kill) return { exitCode: 128 + constants.signals.SIGKILL, signal: 'SIGKILL' };
  const words = await readFile(log, 'utf8').catch(() => '');
  if (words.trim() !== '') {
    // Killed together with its sandbox is an end like another; never begun is a failure.
    throw container.isAlive() ? crunFailure('exec', words) : notRunning(container.id);
  }
  return { exitCode, signal: signalName(exitCode) };
}

/**
 * At first crun's child is a step of its own on the way into the sandbox, and what comes after it becomes crun's child in its
 * place: who was found and killed may have been that step. So it looks again for as long as crun waits for somebody; a crun that
 * waits for nobody any more is ended itself.
 */
async function killExec(host: ContainerHost, child: SpawnedProcess, exited: Promise<unknown>): Promise<void> {
  const ended = exited.then(
    () => 'ended',
    () => 'ended',
  );
  let aloneSince = performance.now();
  for (const deadline = performance.now() + KILLED_TIMEOUT_MS; performance.now() < deadline; ) {
    const [tini] = child.hasEnded() ? [] : livingChildrenOf(child.pid);
    if (tini !== undefined) {
      await killTree(host.watcher, tini, child.pid);
      aloneSince = performance.now();
    } else if (performance.now() - aloneSince > ALONE_MS) await endAlone(child);
    const timer = new AbortController();
    const again = sleep(tini === undefined ? APPEAR_MS : LOOK_AGAIN_MS, 'again', { signal: timer.signal });
    const first = await Promise.race([ended, again.catch(() => undefined)]);
    timer.abort();
    if (first === 'ended') return;
  }
  throw new DarkroomError('internal', 'a killed command does not end');
}

/** Without those that crun has not taken note of: it may wait for a word from the very step that was killed. */
function livingChildrenOf(pid: number): number[] {
  return childrenOf(pid).filter((each) => (processStat(each)?.state ?? 'Z') !== 'Z');
}

/** Stopped first: between the look for its children and the kill it must not make one, which nobody would find then. */
async function endAlone(child: SpawnedProcess): Promise<void> {
  if (child.hasEnded()) return;
  process.kill(child.pid, 'SIGSTOP');
  for (let tries = 0; tries < STOP_TRIES && processStat(child.pid)?.state !== 'T'; tries++) await sleep(1);
  if (child.hasEnded()) return;
  const isAlone = processStat(child.pid)?.state === 'T' && livingChildrenOf(child.pid).length === 0;
  process.kill(child.pid, isAlone ? 'SIGKILL' : 'SIGCONT');
}

/** 128 + n is how a shell, tini and crun all tell of signal n. */
export function signalName(exitCode: number): string | undefined {
  return Object.entries(constants.signals).find(([, number]) => number + 128 === exitCode)?.[0];
}
