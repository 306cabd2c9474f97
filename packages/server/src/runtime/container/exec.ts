import { writeFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DarkroomError, invalidRequest } from '../../platform/errors.ts';
import { openProcessPipes } from '../../platform/process-pipes.ts';
import type { SpawnedProcess } from '../../platform/spawned-process.ts';
import type { ExecProcess, ExecSpec } from '../types.ts';
import { DEFAULT_PATH, processConfig, TINI } from './container-config.ts';
import type { ContainerHost } from './container-host.ts';
import { notRunning, withRoot } from './container-root.ts';
import { crunFailure } from './crun-failure.ts';
import { openDetachedStreams } from './detached-streams.ts';
import { endedProcess } from './ended-process.ts';
import { checkExec, checkWorkingDirectory, commandFault } from './exec-check.ts';
import { runPaths } from './layout.ts';
import type { LiveContainer } from './live-container.ts';
import { childrenOf, killTree } from './process-tree.ts';

/** Between the fork of crun and the moment that its child can be seen below it. */
const APPEAR_TIMEOUT_MS = 10_000;
const KILLED_TIMEOUT_MS = 20_000;

let lastExec = 0;

/** Starts a command in a running container, under the same protections as everything in it. */
export async function execInContainer(
  host: ContainerHost,
  container: LiveContainer,
  spec: ExecSpec,
): Promise<ExecProcess> {
  checkExec(spec);
  if (spec.user.uid >= host.idCount || spec.user.gid >= host.idCount) {
    throw invalidRequest(`ids in a sandbox are below ${host.idCount}`);
  }
  const env = { ...container.env, ...spec.env };
  const fault = await withRoot(container, (root) => {
    checkWorkingDirectory(root, spec.cwd);
    return commandFault(root, spec.argv[0] ?? '', spec.cwd, env.PATH ?? DEFAULT_PATH);
  });
  if (fault) return endedProcess(fault.exitCode, fault.words);

  // `-s`: orphans of the command stay below this tini, where killTree finds them.
  const input = { argv: [TINI, '-s', '--', ...spec.argv], env, cwd: spec.cwd, user: spec.user };
  lastExec += 1;
  const base = join(runPaths(host.layout, container.id).dir, `exec-${process.pid}-${lastExec}`);
  const files = { process: `${base}.json`, log: `${base}.log` };
  const forgetFiles = () => Promise.all(Object.values(files).map((file) => rm(file, { force: true })));
  try {
    // Not on crun's command line: everybody on the host can read that, and an environment holds secrets.
    writeFileSync(files.process, JSON.stringify(processConfig(input, host.openFiles)), { mode: 0o600 });
  } catch (cause) {
    if (!container.isAlive()) throw notRunning(container.id);
    throw new DarkroomError('internal', `prepare a command in sandbox ${container.id}`, { cause });
  }

  const owner = { uid: host.idBase + spec.user.uid, gid: host.idBase + spec.user.gid };
  const streams = spec.outputFd === undefined ? openProcessPipes(owner) : openDetachedStreams(owner, spec.outputFd);
  let child: SpawnedProcess;
  try {
    child = host.crun.exec(container.id, files.process, files.log, streams.theirs);
  } catch (error) {
    streams.destroy();
    await forgetFiles();
    throw error;
  } finally {
    streams.closeTheirs();
  }
  const asked = { kill: false };
  const exited = exitOf(child, files.log, container, asked).finally(forgetFiles);
  // Whoever asks sees the failure; who does not must not bring the server down.
  exited.catch(() => {});
  return {
    stdin: streams.stdin,
    stdout: streams.stdout,
    stderr: streams.stderr,
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

async function killExec(host: ContainerHost, child: SpawnedProcess, exited: Promise<unknown>): Promise<void> {
  const ended = exited.then(
    () => undefined,
    () => undefined,
  );
  const tini = await tiniOf(child);
  if (tini !== undefined) await killTree(host.watcher, tini, child.pid);
  const timer = new AbortController();
  const late = sleep(KILLED_TIMEOUT_MS, 'late', { signal: timer.signal }).catch(() => undefined);
  const first = await Promise.race([ended, late]);
  timer.abort();
  if (first === 'late') throw new DarkroomError('internal', 'a killed command does not end');
}

/** The only child of `crun exec`; before it has one there is nothing else to kill. */
async function tiniOf(child: SpawnedProcess): Promise<number | undefined> {
  const deadline = Date.now() + APPEAR_TIMEOUT_MS;
  while (!child.hasEnded() && Date.now() < deadline) {
    const [tini] = childrenOf(child.pid);
    if (tini !== undefined) return tini;
    await sleep(1);
  }
  return undefined;
}

/** 128 + n is how a shell, tini and crun all tell of signal n. */
function signalName(exitCode: number): string | undefined {
  return Object.entries(constants.signals).find(([, number]) => number + 128 === exitCode)?.[0];
}
