import { closeSync, fchownSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { DarkroomError, errnoOf } from '../../platform/errors.ts';
import { pipe } from '../../platform/libc-files.ts';
import { openTerminalPeer, setTerminalSize } from '../../platform/libc-terminal.ts';
import type { SpawnedProcess } from '../../platform/spawned-process.ts';
import type { TerminalProcess, TerminalSpec } from '../types.ts';
import { type ConsoleSocket, openConsoleSocket } from './console-socket.ts';
import type { ContainerHost } from './container-host.ts';
import type { Crun } from './crun.ts';
import { type ExecAttempt, type ExecFault, followExec, prepareExec } from './exec-attempt.ts';
import type { LiveContainer } from './live-container.ts';
import { openTerminalStream } from './terminal-stream.ts';

let lastSocket = 0;

/** Starts a command on a terminal of its own. */
export async function openContainerTerminal(
  host: ContainerHost,
  container: LiveContainer,
  spec: TerminalSpec,
): Promise<TerminalProcess> {
  const { cols, rows } = spec;
  const attempt = await prepareExec(host, container, spec, {
    terminal: true,
    consoleSize: { width: cols, height: rows },
  });
  if ('words' in attempt) return endedTerminal(attempt);
  return container.engine.openTerminal(host, container, attempt, spec);
}

interface CrunTerminal {
  host: ContainerHost;
  container: LiveContainer;
  attempt: ExecAttempt;
  spec: TerminalSpec;
  crun: Crun;
}

/** On a terminal that crun opens in the container's own devpts. */
export async function openCrunTerminal({
  host,
  container,
  attempt,
  spec,
  crun,
}: CrunTerminal): Promise<TerminalProcess> {
  // Beside the containers' directories, whose names may be longer than a socket's may.
  lastSocket += 1;
  let socket: ConsoleSocket | undefined;
  let child: SpawnedProcess;
  try {
    socket = openConsoleSocket(host.watcher, join(host.layout.runDir, `terminal-${process.pid}-${lastSocket}`));
    child = startCrun(crun, container, attempt, socket.path);
  } catch (error) {
    socket?.close();
    await attempt.forget();
    throw error;
  }
  const command = followExec(host, container, attempt, child);
  try {
    const master = await socket.receive(child.exited);
    if (master === undefined) {
      // Its failure in crun's own words, when it ended by one.
      if (child.hasEnded()) await command.exited;
      throw new DarkroomError('internal', `no terminal could be opened in sandbox ${container.id}`);
    }
    return { ...takeTerminal(host, master, spec), ...command };
  } catch (error) {
    command.killTree().catch(() => {});
    throw error;
  }
}

function startCrun(
  crun: Crun,
  container: LiveContainer,
  attempt: { processFile: string; log: string },
  consoleSocket: string,
): SpawnedProcess {
  // The process gets the terminal in place of these; crun may not have the host's /dev/null.
  const nothing = pipe();
  try {
    return crun.exec(container.id, attempt.processFile, attempt.log, [nothing.read, nothing.write, nothing.write], {
      consoleSocket,
    });
  } finally {
    closeSync(nothing.read);
    closeSync(nothing.write);
  }
}

/** Owns the master from here on. */
export function takeTerminal(
  host: ContainerHost,
  master: number,
  spec: TerminalSpec,
): Pick<TerminalProcess, 'stream' | 'resize'> {
  try {
    giveTerminal(master, host.idBase + spec.user.uid);
    setTerminalSize(master, spec);
  } catch (error) {
    // Ended already; there is nothing to prepare, and maybe something to read.
    if (errnoOf(error) !== 'EIO') {
      closeSync(master);
      throw error;
    }
  }
  const stream = openTerminalStream(host.watcher, master);
  return {
    stream,
    resize(size) {
      if (stream.descriptor !== undefined) setTerminalSize(stream.descriptor, size);
    },
  };
}

/** crun opens it as the container's root; its user must be able to open it by its name, too. */
function giveTerminal(master: number, uid: number): void {
  const peer = openTerminalPeer(master);
  try {
    fchownSync(peer, uid, -1);
  } finally {
    closeSync(peer);
  }
}

/** The end of a command that could not begin, on a terminal that never was. */
function endedTerminal({ exitCode, words }: ExecFault): TerminalProcess {
  const stream = new PassThrough();
  stream.end(`${words}\r\n`);
  return {
    stream,
    resize: () => {},
    exited: Promise.resolve({ exitCode, signal: undefined }),
    killTree: async () => {},
  };
}
