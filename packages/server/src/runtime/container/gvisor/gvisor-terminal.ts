import { closeSync } from 'node:fs';
import { openTerminalPair } from '../../../platform/libc-terminal.ts';
import type { TerminalProcess, TerminalSpec } from '../../types.ts';
import type { ContainerHost } from '../container-host.ts';
import type { StartedCommand } from '../engine.ts';
import type { ExecAttempt } from '../exec-attempt.ts';
import type { LiveContainer } from '../live-container.ts';
import { takeTerminal } from '../terminal.ts';
import { startGvisorExec } from './gvisor-exec.ts';
import type { Runsc } from './runsc.ts';

/** Whoever leads a session and opens a terminal first has its signals: runsc passes them on to the program in the foreground. */
const TAKE_CONTROL = 'exec 0<>"$1" 1>&0 2>&0; shift; exec "$@"';

export interface GvisorTerminal {
  runsc: Runsc;
  host: ContainerHost;
  container: LiveContainer;
  attempt: ExecAttempt;
  spec: TerminalSpec;
}

/** On a terminal of the host: gVisor has none of its own that somebody outside could hold. */
export async function openGvisorTerminal(options: GvisorTerminal): Promise<TerminalProcess> {
  const { runsc, host, container, attempt, spec } = options;
  const { master, peer, path } = openTerminalPair();
  let command: StartedCommand;
  let terminal: ReturnType<typeof takeTerminal>;
  try {
    // Owner and size first: what starts finds both.
    terminal = takeTerminal(host, master, spec);
    const before = ['sh', '-euc', TAKE_CONTROL, 'sh', path];
    command = startGvisorExec(runsc, container, attempt, [peer, peer, peer], before);
  } catch (error) {
    await attempt.forget();
    throw error;
  } finally {
    closeSync(peer);
  }
  return { ...terminal, ...command };
}
