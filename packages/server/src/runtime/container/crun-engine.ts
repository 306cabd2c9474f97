import { writeFileSync } from 'node:fs';
import { connectInContainer } from './connect.ts';
import { containerConfig } from './container-config.ts';
import type { Crun } from './crun.ts';
import { terminateProcesses } from './end-container.ts';
import type { ContainerEngine } from './engine.ts';
import { followExec } from './exec-attempt.ts';
import { runPaths } from './layout.ts';
import { endLeftoverExec } from './leftover-execs.ts';
import { listeningPorts } from './listening-ports.ts';
import { openCrunTerminal } from './terminal.ts';

/** Containers as the kernel makes them. */
export function crunEngine(crun: Crun): ContainerEngine {
  return {
    sandboxClass: 'container',
    // The server does not start without.
    check: async () => {},
    async run({ layout }, id, input) {
      const { dir, config, log } = runPaths(layout, id);
      writeFileSync(config, JSON.stringify(containerConfig(input)), { mode: 0o600 });
      await crun.run(id, dir, log);
    },
    status(id) {
      const status = crun.status(id);
      return status && { ...status, rootPid: status.pid };
    },
    delete: (_host, id) => crun.delete(id),
    list: () => crun.list(),
    exec: (host, container, attempt, stdio) =>
      followExec(host, container, attempt, crun.exec(container.id, attempt.processFile, attempt.log, stdio)),
    openTerminal: (host, container, attempt, spec) => openCrunTerminal({ host, container, attempt, spec, crun }),
    endLeftover: endLeftoverExec,
    terminate: terminateProcesses,
    connect: (_host, container, port, options) => connectInContainer(container, port, options),
    listeningPorts: (_host, container) => listeningPorts(container),
    close: () => crun.close(),
  };
}
