import { existsSync, mkdirSync } from 'node:fs';
import type { ExitWatcher } from '../../../platform/exit-watcher.ts';
import type { RuntimeLog } from '../container-host.ts';
import type { ContainerEngine } from '../engine.ts';
import type { Layout } from '../layout.ts';
import { endProcesses } from './end-processes.ts';
import { guestListeningPorts } from './guest-ports.ts';
import { killGuestTree, terminateGuests } from './guest-processes.ts';
import { type GvisorSettings, gvisorCheck, gvisorProgram } from './gvisor-check.ts';
import { connectInGvisor } from './gvisor-connect.ts';
import { guestPid, pidFileOf, startGvisorExec } from './gvisor-exec.ts';
import { runGvisor } from './gvisor-run.ts';
import { gvisorState } from './gvisor-state.ts';
import { openGvisorTerminal } from './gvisor-terminal.ts';
import { createRunsc, type Runsc } from './runsc.ts';

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
  const check = gvisorCheck(settings, log);

  function runsc(): Runsc {
    mkdirSync(root, { recursive: true, mode: 0o700 });
    opened ??= createRunsc({ program: gvisorProgram(settings.gvisor), root, watcher });
    return opened;
  }

  return {
    sandboxClass: 'gvisor',
    check,
    async run(host, id, input) {
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
