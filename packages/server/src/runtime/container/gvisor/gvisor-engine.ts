import { existsSync, mkdirSync } from 'node:fs';
import { DarkroomError, invalidRequest } from '../../../platform/errors.ts';
import type { ExitWatcher } from '../../../platform/exit-watcher.ts';
import { findProgram } from '../../../platform/find-program.ts';
import type { RuntimeLog } from '../container-host.ts';
import type { ContainerEngine } from '../engine.ts';
import type { Layout } from '../layout.ts';
import { endProcesses } from './end-processes.ts';
import { guestListeningPorts } from './guest-ports.ts';
import { killGuestTree, terminateGuests } from './guest-processes.ts';
import { connectInGvisor } from './gvisor-connect.ts';
import { guestPid, pidFileOf, startGvisorExec } from './gvisor-exec.ts';
import { runGvisor } from './gvisor-run.ts';
import { gvisorState } from './gvisor-state.ts';
import { openGvisorTerminal } from './gvisor-terminal.ts';
import { createRunsc, type Runsc } from './runsc.ts';
import { tryGvisor } from './try-gvisor.ts';

export interface GvisorSettings {
  /** `auto`, `off`, or the path of runsc. */
  gvisor?: string | undefined;
  idBase: number;
  idCount: number;
}

/** Containers under gVisor. There also where gVisor is not: for those that an earlier server started. */
export function gvisorEngine(
  layout: Layout,
  settings: GvisorSettings,
  watcher: ExitWatcher,
  log: RuntimeLog,
): ContainerEngine {
  const root = layout.gvisorRoot;
  const state = gvisorState(root);
  let opened: Runsc | undefined;
  let trial: Promise<void> | undefined;

  function runsc(): Runsc {
    mkdirSync(root, { recursive: true, mode: 0o700 });
    opened ??= createRunsc({ program: gvisorProgram(settings.gvisor), root, watcher });
    return opened;
  }

  async function tryOnce(): Promise<void> {
    const program = gvisorProgram(settings.gvisor);
    const result = await tryGvisor(program, settings);
    if (!result.works) throw notHere(`${result.version} does not work here: ${result.reason}`);
    log.info({ program, version: result.version }, 'sandboxes can run under gVisor');
  }

  /** What works is not tried again; what did not may have been put right. */
  function check(): Promise<void> {
    trial ??= tryOnce().catch((error: unknown) => {
      trial = undefined;
      throw error;
    });
    return trial;
  }

  return {
    sandboxClass: 'gvisor',
    check,
    async run(host, id, input) {
      await check();
      await runGvisor({ host, runsc: runsc(), state, id, input });
    },
    status: (id) => state.status(id),
    async delete(host, id) {
      if (!state.isKnown(id)) return;
      await endProcesses(host, id);
      state.forget(id);
    },
    list: async () => state.list(),
    exec: (_host, container, attempt, stdio) => startGvisorExec(runsc(), container, attempt, stdio),
    openTerminal: (host, container, attempt, spec) =>
      openGvisorTerminal({ runsc: runsc(), host, container, attempt, spec }),
    async endLeftover(_host, id, { pid, file }) {
      const hasEnded = () => !existsSync(`/proc/${pid}`);
      const guest = await guestPid(pidFileOf(file), hasEnded);
      if (guest !== undefined && !hasEnded()) await killGuestTree(runsc(), id, guest);
    },
    terminate: (_host, container, graceMs) => terminateGuests(runsc(), container, graceMs),
    connect: (_host, container, port, options) => connectInGvisor(runsc(), layout.runDir, container, port, options),
    listeningPorts: (host, container) => guestListeningPorts(host, container),
    close: () => {},
  };
}

/** Raises `invalid_request` when there is none, or it is turned off. */
function gvisorProgram(setting = 'off'): string {
  if (setting === 'off') throw notHere('it is turned off (runtime.gvisor)');
  try {
    return findProgram(setting === 'auto' ? 'runsc' : setting);
  } catch (cause) {
    if (!(cause instanceof DarkroomError)) throw cause;
    throw notHere(`${cause.message}`, cause);
  }
}

function notHere(reason: string, cause?: unknown): DarkroomError {
  return invalidRequest(`This server runs no sandboxes under gVisor: ${reason}`, {
    hint: "Leave out sandboxClass, or ask for 'container'. docs/security.md says what gVisor needs.",
    cause,
  });
}
